#include "nightreel/model/linear.h"

#include <ATen/ATen.h>

#include "nightreel/ops/quantised.h"

namespace nightreel::model {

ReadyInput make_ready(at::Tensor x, const InputForm& form) {
  const at::Tensor in_dtype = x.to(form.dtype);
  x.reset();  // an argument else lives as long as the expression that it is made in
  if (!form.quantised) return {in_dtype, {}};
  const ops::Quantised rows = ops::quantise_rows(in_dtype);
  return {rows.values_OI, rows.scale_O1};
}

InputForm Linear::input_form() const {
  return {bias.scalar_type(), scale.defined() && ops::has_fp8_products(bias, {weight, scale})};
}

at::Tensor Linear::operator()(const ReadyInput& x) const {
  if (!x.scale.defined()) return (*this)(x.values);
  return ops::quantised_linear(ops::Quantised{x.values, x.scale}, {weight, scale}, bias);
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return scale.defined() ? ops::quantised_linear(x, {weight, scale}, bias) : at::linear(x, weight, bias);
}

}  // namespace nightreel::model

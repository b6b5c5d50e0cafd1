#include "nightreel/model/linear.h"

#include <ATen/ATen.h>

#include "nightreel/ops/quantised.h"

namespace nightreel::model {

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return scale.defined() ? ops::quantised_linear(x, {weight, scale}, bias) : at::linear(x, weight, bias);
}

}  // namespace nightreel::model

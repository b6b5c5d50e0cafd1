#include "nightreel/model/linear.h"

#include <ATen/ATen.h>

namespace nightreel::model {

at::Tensor Linear::operator()(const at::Tensor& x) const {
  return at::linear(x, weight, bias);
}

}  // namespace nightreel::model

// B batch, S tokens, D channels.
#include "nightreel/ops/norm.h"

#include <ATen/ATen.h>

#include <optional>

namespace nightreel::ops {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D, double eps) {
  const at::Tensor x_f32 = x.to(at::kFloat);
  const auto channels = static_cast<double>(x.size(-1));
  at::Tensor scale = at::linalg_vector_norm(x_f32, 2, {-1}, /*keepdim=*/true);
  scale = scale.square_().div_(channels).add_(eps).rsqrt_();
  return at::mul(x_f32, scale).mul_(weight_D).to(x.scalar_type());
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight_D, const at::Tensor& bias_D, double eps) {
  std::optional<at::Tensor> weight;
  std::optional<at::Tensor> bias;
  if (weight_D.defined()) weight = weight_D;
  if (bias_D.defined()) bias = bias_D;
  return at::layer_norm(x.to(at::kFloat), {x.size(-1)}, weight, bias, eps).to(x.scalar_type());
}

}  // namespace nightreel::ops

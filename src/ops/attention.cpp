// B batch, S queries, T keys, H heads, D size of a head.
#include "nightreel/ops/attention.h"

#include <ATen/ATen.h>

#include <optional>

namespace nightreel::ops {

at::Tensor attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD,
                     const at::Tensor& bias_T) {
  std::optional<at::Tensor> bias_111T;
  if (bias_T.defined()) bias_111T = bias_T.to(q_BSHD.scalar_type()).view({1, 1, 1, -1});
  return at::scaled_dot_product_attention(q_BSHD.transpose(1, 2), k_BTHD.transpose(1, 2), v_BTHD.transpose(1, 2),
                                          bias_111T)
      .transpose(1, 2);
}

}  // namespace nightreel::ops

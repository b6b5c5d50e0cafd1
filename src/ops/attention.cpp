// B batch, S queries, T keys, H heads, D size of a head.
#include "nightreel/ops/attention.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

namespace nightreel::ops {

namespace {

/// Output [B, H, S, D] and logarithm of the sum of weights [B, H, S], or with more rows behind the S.
using OutputAndWeight = std::tuple<at::Tensor, at::Tensor>;

OutputAndWeight run_kernel(const at::Tensor& q_BHSD, const at::Tensor& k_BHTD, const at::Tensor& v_BHTD) {
  if (q_BHSD.is_cpu()) return at::_scaled_dot_product_flash_attention_for_cpu(q_BHSD, k_BHTD, v_BHTD);
  if (q_BHSD.is_cuda() && q_BHSD.scalar_type() == at::kFloat) {  // flash kernels are for 16 bits
    const auto all = at::_scaled_dot_product_efficient_attention(q_BHSD, k_BHTD, v_BHTD, std::nullopt,
                                                                 /*compute_log_sumexp=*/true);
    return {std::get<0>(all), std::get<1>(all)};
  }
  if (q_BHSD.is_cuda() && q_BHSD.size(3) % 8 == 0) {
    const auto all = at::_scaled_dot_product_flash_attention(q_BHSD, k_BHTD, v_BHTD);
    return {std::get<0>(all), std::get<1>(all)};
  }
  const double scale = 1 / std::sqrt(static_cast<double>(q_BHSD.size(3)));
  const at::Tensor scores_BHST = at::matmul(q_BHSD * scale, k_BHTD.transpose(2, 3)).to(at::kFloat);
  const at::Tensor out_BHSD = at::matmul(scores_BHST.softmax(3).to(v_BHTD.scalar_type()), v_BHTD);
  return {out_BHSD, scores_BHST.logsumexp(3)};
}

}  // namespace

at::Tensor attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD,
                     const at::Tensor& bias_T) {
  std::optional<at::Tensor> bias_111T;
  if (bias_T.defined()) bias_111T = bias_T.to(q_BSHD.scalar_type()).view({1, 1, 1, -1});
  return at::scaled_dot_product_attention(q_BSHD.transpose(1, 2), k_BTHD.transpose(1, 2), v_BTHD.transpose(1, 2),
                                          bias_111T)
      .transpose(1, 2);
}

PartialAttention partial_attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD) {
  const auto [out_BHSD, weight_BHS] =
      run_kernel(q_BSHD.transpose(1, 2), k_BTHD.transpose(1, 2), v_BTHD.transpose(1, 2));
  return {out_BHSD.transpose(1, 2).to(at::kFloat),
          weight_BHS.slice(2, 0, q_BSHD.size(1)).transpose(1, 2).to(at::kFloat)};
}

void merge(PartialAttention& sum, const PartialAttention& more) {
  if (!sum.out_BSHD.defined()) {
    sum = more;
    return;
  }
  const at::Tensor weight_BSH = at::logaddexp(sum.weight_BSH, more.weight_BSH);
  const auto share = [&](const PartialAttention& part) {
    return part.out_BSHD * (part.weight_BSH - weight_BSH).exp_().unsqueeze(3);
  };
  sum = {share(sum).add_(share(more)), weight_BSH};
}

}  // namespace nightreel::ops

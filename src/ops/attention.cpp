// B batch, S queries, T keys, H heads, D size of a head.
#include "nightreel/ops/attention.h"

#include <ATen/ATen.h>

#include "ops/attention_backends.h"

namespace nightreel::ops {
namespace {

AttentionInput heads_first(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD) {
  return {q_BSHD.transpose(1, 2), k_BTHD.transpose(1, 2), v_BTHD.transpose(1, 2)};
}

}  // namespace

at::Tensor attention(const AttentionInput& input) {
  return attention_backend(case_of(input), /*sums=*/false).run(input).out_BHSD;
}

at::Tensor attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD,
                     const at::Tensor& bias_T) {
  AttentionInput input = heads_first(q_BSHD, k_BTHD, v_BTHD);
  if (bias_T.defined()) input.bias_BHST = bias_T.to(q_BSHD.scalar_type()).view({1, 1, 1, -1});
  return attention(input).transpose(1, 2);
}

PartialAttention partial_attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD) {
  const AttentionInput input = heads_first(q_BSHD, k_BTHD, v_BTHD);
  const AttentionOutput part = attention_backend(case_of(input), /*sums=*/true).run(input);
  return {part.out_BHSD.transpose(1, 2).to(at::kFloat),
          part.sums_BHS.slice(2, 0, q_BSHD.size(1)).transpose(1, 2).to(at::kFloat)};
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

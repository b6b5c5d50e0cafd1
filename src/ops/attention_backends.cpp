// B batch, S queries, T keys, H heads, D size of a head.
#include "ops/attention_backends.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace nightreel::ops {
namespace {

bool fits_all(const AttentionCase&) {
  return true;
}

/// Whatever kernel LibTorch has for the case; none of its choices tells the sums.
AttentionOutput libtorch(const AttentionInput& in) {
  return {at::scaled_dot_product_attention(in.q_BHSD, in.k_BHTD, in.v_BHTD, in.bias_BHST, /*dropout_p=*/0.0,
                                           /*is_causal=*/false, in.scale)};
}

bool fits_cpu_flash(const AttentionCase& wanted) {
  return wanted.device == at::kCPU;
}

AttentionOutput cpu_flash(const AttentionInput& in) {
  auto [out_BHSD, sums_BHS] = at::_scaled_dot_product_flash_attention_for_cpu(
      in.q_BHSD, in.k_BHTD, in.v_BHTD, /*dropout_p=*/0.0, /*is_causal=*/false, in.bias_BHST, in.scale);
  return {out_BHSD, sums_BHS};
}

/// Its bias would have to be laid out in its own way, which scaled_dot_product_attention does and nobody needs here.
bool fits_efficient(const AttentionCase& wanted) {
  return wanted.device == at::kCUDA && wanted.dtype == at::kFloat && !wanted.bias;
}

AttentionOutput efficient(const AttentionInput& in) {
  const auto all = at::_scaled_dot_product_efficient_attention(in.q_BHSD, in.k_BHTD, in.v_BHTD, std::nullopt,
                                                               /*compute_log_sumexp=*/true, /*dropout_p=*/0.0,
                                                               /*is_causal=*/false, in.scale);
  return {std::get<0>(all), std::get<1>(all)};
}

/// Its kernels are for 16 bits.
bool fits_flash(const AttentionCase& wanted) {
  return wanted.device == at::kCUDA && wanted.dtype != at::kFloat && wanted.head_dim % 8 == 0 && !wanted.bias;
}

AttentionOutput flash(const AttentionInput& in) {
  const auto all = at::_scaled_dot_product_flash_attention(in.q_BHSD, in.k_BHTD, in.v_BHTD, /*dropout_p=*/0.0,
                                                           /*is_causal=*/false, /*return_debug_mask=*/false, in.scale);
  return {std::get<0>(all), std::get<1>(all)};
}

/// Two products with all scores between them.
AttentionOutput products(const AttentionInput& in) {
  const double scale = in.scale.value_or(1 / std::sqrt(static_cast<double>(in.q_BHSD.size(3))));
  at::Tensor scores_BHST = at::matmul(in.q_BHSD * scale, in.k_BHTD.transpose(2, 3)).to(at::kFloat);
  if (in.bias_BHST) scores_BHST = scores_BHST + *in.bias_BHST;
  const at::Tensor out_BHSD = at::matmul(scores_BHST.softmax(3).to(in.v_BHTD.scalar_type()), in.v_BHTD);
  return {out_BHSD, scores_BHST.logsumexp(3)};
}

constexpr std::array kBackends{AttentionBackend{"libtorch", false, fits_all, libtorch},
                               AttentionBackend{"cpu-flash", true, fits_cpu_flash, cpu_flash},
                               AttentionBackend{"efficient", true, fits_efficient, efficient},
                               AttentionBackend{"flash", true, fits_flash, flash},
                               AttentionBackend{"products", true, fits_all, products}};

}  // namespace

AttentionCase case_of(const AttentionInput& in) {
  return {in.q_BHSD.size(2),       in.k_BHTD.size(2),         in.q_BHSD.size(3),
          in.q_BHSD.scalar_type(), in.q_BHSD.device().type(), in.bias_BHST.has_value()};
}

std::span<const AttentionBackend> attention_backends() {
  return kBackends;
}

const AttentionBackend& attention_backend(const AttentionCase& wanted, bool sums) {
  return *std::find_if(kBackends.begin(), kBackends.end(), [&](const AttentionBackend& backend) {
    return (backend.gives_sums || !sums) && backend.fits(wanted);
  });
}

}  // namespace nightreel::ops

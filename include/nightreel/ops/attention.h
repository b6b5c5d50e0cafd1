// Scaled dot-product attention, by the first kernel of one table that fits (src/ops/attention_backends.h).
//
// Owns nothing; any thread. Shapes that do not fit throw c10::Error, a bug of the caller.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace nightreel::ops {

/// Heads before tokens. All share dtype and device; only their last axis must be dense.
struct AttentionInput {
  at::Tensor q_BHSD;
  at::Tensor k_BHTD;
  at::Tensor v_BHTD;
  std::optional<at::Tensor> bias_BHST = {};  // of their dtype, or of a shape that is broadcast to this one
  std::optional<double> scale = {};          // none: 1 / sqrt(D)
};

/// softmax(q kᵀ * scale + bias) v for each head, without dropout or causality; [B, H, S, D], laid out as the kernel
/// gives it.
at::Tensor attention(const AttentionInput& input);

/// The same with tokens before heads; slices of one fused projection will do. `bias_T` (float32, or undefined: none) is
/// added to the score of every query with key t. Returns [B, S, H, D], dense where the kernel gives it so.
at::Tensor attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD,
                     const at::Tensor& bias_T = {});

/// Attention to some of the keys: what is needed to put it together with that to the others.
struct PartialAttention {
  at::Tensor out_BSHD;    // float32, as if there were no other keys; undefined: no key yet
  at::Tensor weight_BSH;  // float32, the logarithm of the sum of exp(score) over the keys
};

/// As attention(), with at least one key.
PartialAttention partial_attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD);

/// Adds attention to further keys (Milakov and Gimelshein, "Online normalizer calculation for softmax",
/// arXiv:1805.02867; for blocks of keys on several devices Liu et al., "Ring Attention", arXiv:2310.01889).
void merge(PartialAttention& sum, const PartialAttention& more);

}  // namespace nightreel::ops

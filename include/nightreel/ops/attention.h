// Scaled dot-product attention over whatever kernel LibTorch has for the device.
//
// Owns nothing; any thread. Shapes that do not fit throw c10::Error, a bug of the caller.
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::ops {

/// softmax(q kᵀ / sqrt(D) + bias) v for each head, without dropout or causality.
/// q_BSHD, k_BTHD and v_BTHD share dtype and device; only their last axis must be dense, so slices of one fused
/// projection will do. `bias_T` (float32, or undefined: none) is added to the score of every query with key t.
/// Returns [B, S, H, D], dense where LibTorch's kernel gives it so.
at::Tensor attention(const at::Tensor& q_BSHD, const at::Tensor& k_BTHD, const at::Tensor& v_BTHD,
                     const at::Tensor& bias_T = {});

}  // namespace nightreel::ops

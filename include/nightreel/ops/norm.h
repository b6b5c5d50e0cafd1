// The norms of the Wan transformer, computed in float32 whatever the dtype of their input.
//
// Owns nothing; any thread. Shapes that do not fit throw c10::Error, a bug of the caller.
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::ops {

/// x / sqrt(mean(x²) + eps) * weight over the last axis, as torch.nn.RMSNorm gives it (Wan: across all heads).
/// x [..., D], dense along D; weight [D] of any dtype. Returns a dense tensor of x's dtype.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D, double eps);

/// diffusers' FP32LayerNorm (models/normalization.py): layer norm over the last axis in float32. weight and bias
/// [D] float32, both or neither defined. Returns x's dtype.
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight_D, const at::Tensor& bias_D, double eps);

}  // namespace nightreel::ops

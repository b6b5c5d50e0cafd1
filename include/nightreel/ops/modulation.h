// How the time step steers a transformer block (adaLN-zero): scale and shift of a norm, gate of a residual.
//
// Owns nothing; any thread. Formulas: diffusers 0.42.1, WanTransformerBlock.forward
// (models/transformers/transformer_wan.py). Everything is computed in float32.
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::ops {

/// layer_norm(x) * (1 + scale) + shift, the norm without weights of its own. x_BSD of any float dtype; scale and shift
/// float32 [1, D] for the whole batch, or [B, D]. Returns x's dtype.
at::Tensor modulated_norm(const at::Tensor& x_BSD, const at::Tensor& scale_BD, const at::Tensor& shift_BD, double eps);

/// x + y * gate with gate float32 [1, D] or [B, D]; y has x's shape and dtype. May reuse x's storage: x is spent.
at::Tensor gated_add(at::Tensor x_BSD, const at::Tensor& y_BSD, const at::Tensor& gate_BD);

}  // namespace nightreel::ops

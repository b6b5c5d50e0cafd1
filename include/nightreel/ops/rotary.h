// Rotary position embedding over the three axes of a video (frame, row, column).
//
// Owns nothing; any thread. Formulas: diffusers 0.42.1, WanRotaryPosEmbed and apply_rotary_emb
// (models/transformers/transformer_wan.py), get_1d_rotary_pos_embed (models/embeddings.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace nightreel::ops {

/// Cosine and sine for each token of a grid of frames x rows x columns: float32 [S, D/2, 2] on the CPU, computed in
/// float64. The head is split 2*(D/6) each for rows and columns, the rest for frames; `head_dim` D is even.
at::Tensor rotary_table(std::array<std::int64_t, 3> grid, std::int64_t head_dim, double theta = 10000.0);

/// Turns each pair (x[2i], x[2i+1]) of a head by its token's angle, in float32. x_BSHD dense; table_SP2 as above, on
/// x's device. Returns x's dtype. On a CUDA tensor one fused kernel does it.
at::Tensor apply_rotary(const at::Tensor& x_BSHD, const at::Tensor& table_SP2);

}  // namespace nightreel::ops

// From the last block's tokens to the velocity: a modulated norm, a matrix, patches put back in their places.
//
// Owns its weights. Plain values; over a group of ranks forward() is collective. diffusers 0.42.1, norm_out and
// proj_out of WanTransformer3DModel (models/transformers/transformer_wan.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/patch_embedding.h"
#include "nightreel/model/time_embedder.h"

namespace nightreel::model {

class Head {
 public:
  explicit Head(const card::TransformerConfig& config);

  /// Adds its tensors: "proj_out" and "scale_shift_table".
  void parameters(ParameterList& list);
  /// Of this rank's tokens [B, S, D]; the whole velocity [B, out_channels, F, Y, X] on every rank.
  at::Tensor forward(const at::Tensor& x_BSD, const TimeEmbeddings& times, const Tokens& tokens,
                     const PatchGrid& grid) const;

 private:
  at::Tensor unpatchify(const at::Tensor& x_BSP, const PatchGrid& grid) const;

  std::array<std::int64_t, 3> patch_;
  std::int64_t channels_;
  std::int64_t width_;
  double eps_;
  at::Tensor table_12D_;  // shift, scale
  Linear projection_;
};

}  // namespace nightreel::model

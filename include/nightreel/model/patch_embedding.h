// From latents to tokens: each patch is flattened and brought to the transformer's width.
//
// Owns its weights. Plain values; const calls from any thread. Latents that do not divide into patches, or have another
// number of channels, throw base::Error{job}. diffusers 0.42.1, patch_embedding of WanTransformer3DModel.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"

namespace nightreel::model {

/// Patches of a video: frames, rows, columns.
using PatchGrid = std::array<std::int64_t, 3>;

class PatchEmbedding {
 public:
  /// For latents of `channels` channels.
  PatchEmbedding(const card::TransformerConfig& config, std::int64_t channels);

  /// Adds its tensors: "patch_embedding.weight" and its bias.
  void parameters(const std::string& name, ParameterList& list);
  /// Of latents [B, channels, F, Y, X].
  PatchGrid grid(const at::Tensor& latents_BCFYX) const;
  /// The tokens that are computed here, of latents of any dtype and device; column by column, then row by row.
  at::Tensor forward(const at::Tensor& latents_BCFYX, const Tokens& tokens) const;

 private:
  at::Tensor patchify(const at::Tensor& latents_BCFYX) const;

  std::array<std::int64_t, 3> patch_;
  std::int64_t most_;  // patches along one axis
  std::int64_t channels_;
  std::int64_t width_;
  Linear projection_;
};

}  // namespace nightreel::model

// From the image encoder's vectors of one picture or two to the context that a transformer's tokens attend to.
//
// Owns its weights. Plain values; const calls from any thread. Vectors that do not fit image_dim or pos_embed_seq_len
// throw base::Error{model}. Formulas: diffusers 0.42.1, WanImageEmbedding (models/transformers/transformer_wan.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"

namespace nightreel::model {

class ImageEmbedder {
 public:
  explicit ImageEmbedder(const card::TransformerConfig& config)
      : image_dim_(config.image_dim), positions_(config.pos_embed_seq_len), width_(config.width()) {}

  /// Adds its tensors; `name` stands before theirs: "condition_embedder.image_embedder.". None without image_dim.
  void parameters(const std::string& name, ParameterList& list);
  /// image_NTE: N pictures, two where there are positions, of any dtype and device. One context for all prompts.
  Context forward(const at::Tensor& image_NTE) const;

 private:
  at::Tensor placed(const at::Tensor& image_NTE) const;

  std::int64_t image_dim_;
  std::int64_t positions_;  // 0: none
  std::int64_t width_;
  at::Tensor positions_1TE_, norm_in_weight_E_, norm_in_bias_E_, norm_out_weight_D_, norm_out_bias_D_;
  Linear in_, out_;
};

}  // namespace nightreel::model

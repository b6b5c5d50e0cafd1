// From the text encoder's rows to the context that a transformer's tokens attend to.
//
// Owns its weights. Plain values; const calls from any thread. Another width than text_dim throws base::Error{model}.
// Formulas: diffusers 0.42.1, PixArtAlphaTextProjection (models/embeddings.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"

namespace nightreel::model {

class TextEmbedder {
 public:
  explicit TextEmbedder(const card::TransformerConfig& config) : text_dim_(config.text_dim), width_(config.width()) {}

  /// Adds its tensors; `name` stands before theirs: "condition_embedder.text_embedder.".
  void parameters(const std::string& name, ParameterList& list);
  /// text_BTE, of any dtype and device. In float32 the equal rows that pad a prompt are folded into one, whose weight
  /// is put into the bias: the softmax over 512 rows is then one over the prompt's own, exactly.
  Context forward(const at::Tensor& text_BTE) const;

 private:
  std::int64_t text_dim_;
  std::int64_t width_;
  Linear in_, out_;
};

}  // namespace nightreel::model

// One block of the transformer: attention of the tokens to each other and to the contexts, then the feed-forward
// layers, each behind a norm and added to what it was given.
//
// Owns its layers, the norms between them and its modulation table; Attention and FeedForward get their input ready, in
// the form that they name, so that what makes it (a norm, its modulation, rounding to fp8) is this file's alone. Plain
// values that point at nothing; const calls from any thread, over a group of ranks collective. Formulas: diffusers
// 0.42.1, WanTransformerBlock (models/transformers/transformer_wan.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/feed_forward.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/time_embedder.h"

namespace nightreel::model {

struct ModulatedRun;

class Block {
 public:
  explicit Block(const card::TransformerConfig& config);

  /// Adds its tensors; `name` stands before theirs: "blocks.0.".
  void parameters(const std::string& name, ParameterList& list);

  /// `contexts` with this block's keys and values, so that forward() need not make them.
  Contexts with_keys(Contexts contexts) const { return cross_attention_.with_keys(std::move(contexts)); }

  /// x [b, S, D] is spent; [B, S, D] comes out, B the prompts of the first context, b B or 1. `when_alone` is called
  /// when the block has made its last collective call.
  at::Tensor forward(at::Tensor x_BSD, const TimeEmbeddings& times, const Contexts& contexts, const Tokens& tokens,
                     const std::function<void()>& when_alone = {}) const;

 private:
  at::Tensor attend_to_each_other(at::Tensor x_BSD, const std::vector<ModulatedRun>& modulation,
                                  const Tokens& tokens) const;
  at::Tensor feed_forward(at::Tensor x_BSD, const std::vector<ModulatedRun>& modulation) const;
  at::Tensor norm_for_contexts(const at::Tensor& x_BSD) const;

  std::int64_t width_;
  double eps_;
  bool has_cross_norm_;
  at::Tensor table_16D_;  // shift, scale, gate; the same of the feed-forward layers
  at::Tensor cross_norm_weight_D_, cross_norm_bias_D_;
  SelfAttention self_attention_;
  CrossAttention cross_attention_;
  FeedForward feed_forward_;
};

}  // namespace nightreel::model

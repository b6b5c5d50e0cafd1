// Attention of a block: a video's tokens to each other, and to contexts (a prompt's rows, a picture's).
//
// Both own their projections and the norms of queries and keys, not the norm before them: input comes ready, in the
// form that input_form() names. Plain values; const calls from any thread, but for SelfAttention over a group, which is
// collective. Formulas: diffusers 0.42.1, WanAttention and WanAttnProcessor (models/transformers/transformer_wan.py).
//
// B batch, S tokens, T rows of a context, D width, H heads, K size of a head.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/sequence_parallel.h"

namespace nightreel::model {

/// The tokens that a call computes here: all, or this rank's of a group.
struct Tokens {
  const SequenceParallel& group;
  TokenShare share;
  at::Tensor rotary_SP2;  // see ops::rotary_table
};

/// What tokens attend to beside each other.
struct Context {
  at::Tensor rows_BTD;          // at the transformer's width; B is 1 or the prompts'
  at::Tensor bias_T = {};       // see ops::attention; undefined: none
  at::Tensor keys_BTHK = {};    // of one block; undefined: made of the rows at every call
  at::Tensor values_BTHK = {};  // as the keys
};
/// Of one block, in the order of CrossAttention's projections; each is attended to for itself, and the results summed.
using Contexts = std::vector<Context>;

/// Heads of attention, and the epsilon of the norms of queries and keys.
struct HeadShape {
  std::int64_t heads;
  std::int64_t size;
  double eps;

  explicit HeadShape(const card::TransformerConfig& config)
      : heads(config.num_attention_heads), size(config.attention_head_dim), eps(config.eps) {}
  std::int64_t width() const { return heads * size; }
};

class SelfAttention {
 public:
  explicit SelfAttention(const card::TransformerConfig& config) : shape_(config) {}

  /// Adds its tensors; `name` stands before theirs: "blocks.0.attn1.".
  void parameters(const std::string& name, ParameterList& list);
  InputForm input_form() const { return qkv_.input_form(); }
  /// x is spent.
  at::Tensor forward(ReadyInput x_BSD, const Tokens& tokens) const;

 private:
  HeadShape shape_;
  Linear qkv_, out_;
  at::Tensor norm_q_D_, norm_k_D_;
};

class CrossAttention {
 public:
  /// Of a model that is told by pictures (image_dim) with projections for two contexts: the prompt's, the pictures'.
  explicit CrossAttention(const card::TransformerConfig& config);

  void parameters(const std::string& name, ParameterList& list);
  InputForm input_form() const { return q_.input_form(); }
  /// With keys and values, dense, made of the rows.
  Contexts with_keys(Contexts contexts) const;
  /// x is spent. `contexts`: one for each projection, or for the first of them.
  at::Tensor forward(ReadyInput x_BSD, const Contexts& contexts) const;

 private:
  /// How keys and values are made of a context's rows.
  struct Projection {
    std::vector<std::string> names;  // of the matrices of keys and of values
    std::string norm_name;
    Linear key_value = {};
    at::Tensor norm_k_D = {};
  };

  std::array<at::Tensor, 2> keys_and_values(const Projection& projection, const at::Tensor& rows_BTD) const;
  at::Tensor attend(std::size_t index, const at::Tensor& q_BSHK, const Context& context) const;

  HeadShape shape_;
  Linear q_, out_;
  at::Tensor norm_q_D_;
  std::vector<Projection> projections_;
};

}  // namespace nightreel::model

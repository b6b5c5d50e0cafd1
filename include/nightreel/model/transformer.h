// The Wan video transformer: from noisy latents, a time step and a prompt to the velocity of the flow.
//
// Owns its weights, or its share of them, on one device in one dtype. Calls are const, but the object keeps the rotary
// table of the last grid: one thread at a time. Settings that the checkpoint has and this program does not throw
// base::Error{model} that names them, sizes that do not fit Error{job}. The arithmetic and its precisions are those of
// diffusers 0.42.1, WanTransformer3DModel (models/transformers/transformer_wan.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/fully_sharded.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/sequence_parallel.h"

namespace nightreel::model {

class WeightMap;

/// A prompt made ready for one Transformer: everything that does not depend on the time step or the latents.
struct TransformerText {
  at::Tensor text_BTD;                           // projected to the transformer's width
  at::Tensor bias_T;                             // see ops::attention; undefined: none
  std::vector<at::Tensor> key_value_BTHD;        // keys, values of each block in turn; empty: computed at every call
  at::Tensor image_1TD;                          // pictures' vectors, projected; undefined: none
  std::vector<at::Tensor> image_key_value_1THD;  // as key_value_BTHD
};

class Transformer {
 public:
  /// Without its numbers: it says which tensors it is made of (parameters()), and computes when load_parameters() has
  /// put them in their places.
  Transformer(const card::TransformerConfig& config, at::Device device, at::ScalarType dtype, bool fp8 = false,
              const ShardSeat& seat = {});
  /// Takes its tensors out of `weights` and brings them to `device` and `dtype`; what diffusers keeps in float32
  /// (time embedding, modulation tables, layer norms) stays float32. With `fp8` the matrices of the blocks are held in
  /// fp8, each output channel with its scale (ops/quantised.h). With a `seat` among several ranks the blocks are
  /// sharded over them, tensor by tensor as they come: gather_over() then, before the first call.
  Transformer(const card::TransformerConfig& config, WeightMap& weights, at::Device device, at::ScalarType dtype,
              bool fp8 = false, const ShardSeat& seat = {});

  const card::TransformerConfig& config() const { return config_; }
  at::Device device() const { return device_; }

  /// Every weight, with its Diffusers names, and what files hold beside them. Between two calls of forward() and
  /// prepare_text() it may be exchanged; what prepare_text() gave before is then of the old weights.
  std::vector<Parameter> parameters();
  /// Every tensor that it holds between two calls: weights, and of those that are sharded the shards.
  void each_weight(const WeightVisitor& visit);

  /// Has the blocks sharded so, or whole again. They hold nothing then, until load_parameter() has put every parameter
  /// in its place.
  void shard(const ShardSeat& seat);

  /// Where sharded blocks come from, which must outlive the last call; null: from nowhere any more. forward() and
  /// prepare_text() are then collective over all of its ranks, also those that compute for another prompt.
  void gather_over(comm::Communicator* group) { weights_group_ = group; }

  /// text_BTE: the text encoder's output, any dtype and device, E = text_dim. With `keep_keys` the cross-attention's
  /// keys and values of all blocks are kept too: 2 * layers * B * T * width elements, and their products are saved at
  /// every step. In float32 the equal rows that pad a prompt are folded into one, whose weight is put into bias_T:
  /// the softmax over 512 rows is then one over the prompt's own, exactly. image_NTE: the image encoder's vectors of
  /// one or, with pos_embed_seq_len, two pictures, E = image_dim; undefined where image_dim is 0.
  TransformerText prepare_text(const at::Tensor& text_BTE, bool keep_keys, const at::Tensor& image_NTE = {}) const;

  /// Latents [b, C, F, Y, X] and time steps [b'] (0 to 1000, whole or not) for the prompts in `text` [B]; b and b' are
  /// B or 1, and 1 stands for equal ones. `first_timestep_B`, where it is defined, is that of the first frame of
  /// patches instead (Wan 2.2's expand_timesteps: the frame of a picture that is given is at 0). Any dtype and device
  /// in, velocity [B, out_channels, F, Y, X] of the transformer's dtype and device out. With `group`, made for
  /// num_attention_heads, all its ranks make the same call; each computes on its share of the tokens and has the whole
  /// velocity in the end, the same bits on all.
  at::Tensor forward(const at::Tensor& latents_BCFYX, const at::Tensor& timestep_B, const TransformerText& text,
                     const at::Tensor& first_timestep_B = {}, const SequenceParallel& group = {}) const;

 private:
  /// The time step of `tokens` tokens that follow each other.
  struct Time {
    std::int64_t tokens = 0;
    at::Tensor embedding_BD;    // float32
    at::Tensor modulation_B6D;  // float32, before each block's own table
  };
  using Times = std::vector<Time>;  // of all tokens here, in their order
  /// The tokens that a call computes here: all, or this rank's of a group.
  struct Tokens {
    const SequenceParallel& group;
    TokenShare share;
    at::Tensor table_SP2;  // rotary
  };
  struct Block {
    at::Tensor table_16D;
    Linear self_qkv, self_out, cross_q, cross_kv, cross_out, ffn_in, ffn_out;
    at::Tensor self_norm_q, self_norm_k, cross_norm_q, cross_norm_k;
    at::Tensor norm2_weight, norm2_bias;
    Linear image_kv;  // and its norm, undefined without image_dim
    at::Tensor image_norm_k;
  };
  /// From the image encoder's vectors to the transformer's width (diffusers' WanImageEmbedding).
  struct ImageEmbedder {
    at::Tensor positions_1TE, norm_in_weight, norm_in_bias, norm_out_weight, norm_out_bias;
    Linear in, out;
  };

  std::array<std::int64_t, 3> patch_grid(const at::Tensor& latents_BCFYX) const;
  const at::Tensor& rotary(const std::array<std::int64_t, 3>& grid) const;
  Time embed_time(const at::Tensor& timestep_B, std::int64_t tokens) const;
  at::Tensor patchify(const at::Tensor& latents_BCFYX, const std::array<std::int64_t, 3>& grid) const;
  at::Tensor unpatchify(const at::Tensor& x_BSP, const std::array<std::int64_t, 3>& grid) const;
  at::Tensor split_heads(const at::Tensor& x_BSD) const;
  std::array<at::Tensor, 2> keys_and_values(const Block& block, const at::Tensor& text_BTD) const;
  std::array<at::Tensor, 2> image_keys_and_values(const Block& block, const at::Tensor& image_1TD) const;
  at::Tensor embed_image(const at::Tensor& image_NTE) const;
  void add_block(std::size_t index, ParameterList& list);
  void add_image_embedder(ParameterList& list);
  at::Tensor image_attention(const Block& block, std::size_t index, const at::Tensor& q_BSHD,
                             const TransformerText& text) const;
  at::Tensor self_attention(const Block& block, const at::Tensor& x_BSD, const Tokens& tokens) const;
  at::Tensor cross_attention(const Block& block, std::size_t index, const at::Tensor& x_BSD,
                             const TransformerText& text) const;
  at::Tensor run_block(std::size_t index, at::Tensor x_BSD, const Times& times, const TransformerText& text,
                       const Tokens& tokens, UnshardedPass& weights) const;
  at::Tensor head(const at::Tensor& x_BSD, const Times& times) const;

  card::TransformerConfig config_;
  at::Device device_;
  at::ScalarType dtype_;
  bool fp8_;
  at::Tensor time_frequencies_;
  at::Tensor table_12D_;
  Linear patch_, time_in_, time_out_, time_proj_, text_in_, text_out_, proj_out_;
  ImageEmbedder image_embedder_;
  std::vector<Block> blocks_;
  mutable std::vector<FlatParameter> flat_;  // of each block, where they are sharded; else none
  comm::Communicator* weights_group_ = nullptr;
  mutable std::array<std::int64_t, 3> rotary_grid_{};
  mutable at::Tensor rotary_table_;
};

}  // namespace nightreel::model

// The Wan video transformer: from noisy latents, a time step and a prompt to the velocity of the flow.
//
// Owns its modules with their weights, or its share of the blocks', on one device in one dtype, and the branches beside
// its blocks. Calls are const, but the object keeps the rotary table of the last grid: one thread at a time. Settings
// that the checkpoint has and this program does not throw base::Error{model} that names them, sizes that do not fit
// Error{job}. The arithmetic and its precisions are those of diffusers 0.42.1, WanTransformer3DModel
// (models/transformers/transformer_wan.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/block.h"
#include "nightreel/model/branch.h"
#include "nightreel/model/fully_sharded.h"
#include "nightreel/model/head.h"
#include "nightreel/model/image_embedder.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/patch_embedding.h"
#include "nightreel/model/sequence_parallel.h"
#include "nightreel/model/text_embedder.h"
#include "nightreel/model/time_embedder.h"

namespace nightreel::weights {
class WeightMap;
}

namespace nightreel::model {

/// A prompt made ready for one Transformer: everything that does not depend on the time step or the latents. The
/// prompts' context comes first, then that of the pictures.
struct TransformerText {
  Contexts contexts;                // without keys and values
  std::vector<Contexts> of_blocks;  // the same with each block's keys and values; empty: computed at every call

  const Contexts& of_block(std::size_t block) const { return of_blocks.empty() ? contexts : of_blocks.at(block); }
};

/// Where a transformer computes, and in which numbers.
struct TransformerOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  bool fp8 = false;     // the matrices of the blocks are held in fp8, each output channel with its scale
  ShardSeat seat = {};  // among several ranks: the blocks are sharded over them
};

class Transformer {
 public:
  /// Without its numbers: it says which tensors it is made of (parameters()), and computes when load_parameters() has
  /// put them in their places.
  Transformer(const card::TransformerConfig& config, const TransformerOptions& options);
  /// Takes its tensors out of `weights` and brings them to the options' device and dtype; what diffusers keeps in
  /// float32 (time embedding, modulation tables, layer norms) stays float32. Blocks are sharded tensor by tensor as
  /// they come: gather_over() then, before the first call.
  Transformer(const card::TransformerConfig& config, weights::WeightMap& weights, const TransformerOptions& options);

  const card::TransformerConfig& config() const { return config_; }
  at::Device device() const { return options_.device; }

  /// Every weight, also of branches, with its Diffusers names, and what files hold beside them. Between two calls of
  /// forward() and prepare_text() it may be exchanged; what prepare_text() gave before is then of the old weights.
  std::vector<Parameter> parameters();
  /// Every tensor that it holds between two calls: weights, and of those that are sharded the shards.
  void each_weight(const WeightVisitor& visit);

  /// Has the blocks sharded so, or whole again. They hold nothing then, until load_parameter() has put every parameter
  /// in its place.
  void shard(const ShardSeat& seat);
  /// Where sharded blocks come from, which must outlive the last call; null: from nowhere any more. forward() and
  /// prepare_text() are then collective over all of its ranks, also those that compute for another prompt.
  void gather_over(comm::Communicator* group) { weights_group_ = group; }

  /// Has `branch` take part in every call from now on. Its weights are for the caller to load.
  void add_branch(std::shared_ptr<Branch> branch) { branches_.push_back(std::move(branch)); }

  /// text_BTE: the text encoder's output, see TextEmbedder, E = text_dim. With `keep_keys` the cross-attention's keys
  /// and values of all blocks are kept too: 2 * layers * B * T * width elements, and their products are saved at every
  /// step. image_NTE: the image encoder's vectors of one or, with pos_embed_seq_len, two pictures, E = image_dim;
  /// undefined where image_dim is 0.
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
  const at::Tensor& rotary(const PatchGrid& grid) const;
  TimeEmbeddings embed_times(const at::Tensor& first_timestep_B, std::int64_t of_first, const at::Tensor& timestep_B,
                             std::int64_t of_rest) const;
  at::Tensor run_blocks(at::Tensor x_BSD, const TimeEmbeddings& times, const TransformerText& text,
                        const Tokens& tokens) const;

  card::TransformerConfig config_;
  TransformerOptions options_;
  PatchEmbedding patch_embedding_;
  TimeEmbedder time_embedder_;
  TextEmbedder text_embedder_;
  ImageEmbedder image_embedder_;
  Head head_;
  std::vector<Block> blocks_;
  std::vector<std::shared_ptr<Branch>> branches_;
  mutable std::vector<FlatParameter> flat_;  // of each block, where they are sharded; else none
  comm::Communicator* weights_group_ = nullptr;
  mutable PatchGrid rotary_grid_{};
  mutable at::Tensor rotary_table_;
};

}  // namespace nightreel::model

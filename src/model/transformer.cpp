// B batch, C channels, F frames, Y rows, X columns of the latents; S tokens, one a patch; D width of the transformer;
// N pictures, T rows of a prompt or of a picture, E their width.
#include "nightreel/model/transformer.h"

#include <ATen/ATen.h>

#include "nightreel/ops/rotary.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

namespace {

std::string block_name(std::size_t block) {
  return "blocks." + std::to_string(block) + ".";
}

}  // namespace

Transformer::Transformer(const card::TransformerConfig& config, const TransformerOptions& options)
    : config_(config),
      options_(options),
      patch_embedding_(config, config.in_channels),
      time_embedder_(config, options.device),
      text_embedder_(config),
      image_embedder_(config),
      head_(config),
      blocks_(static_cast<std::size_t>(config.num_layers), Block(config)) {
  shard(options.seat);
}

Transformer::Transformer(const card::TransformerConfig& config, weights::WeightMap& weights,
                         const TransformerOptions& options)
    : Transformer(config, options) {
  load_parameters(parameters(), weights, device());
}

void Transformer::shard(const ShardSeat& seat) {
  flat_.clear();
  for (Block& block : blocks_) block = Block(config_);
  if (!seat.sharded()) return;
  flat_.resize(blocks_.size());
  for (const Parameter& parameter : parameters()) {
    if (parameter.flat != nullptr) lay_out(parameter);
  }
  for (FlatParameter& flat : flat_) flat.allocate(seat, device());
}

std::vector<Parameter> Transformer::parameters() {
  ParameterList list(options_.dtype);
  patch_embedding_.parameters("patch_embedding", list);
  time_embedder_.parameters("condition_embedder.", list);
  text_embedder_.parameters("condition_embedder.text_embedder.", list);
  head_.parameters(list);
  list.in_blocks(true);
  list.in_fp8(options_.fp8);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    list.in_flat(flat_.empty() ? nullptr : &flat_[i]);
    blocks_[i].parameters(block_name(i), list);
  }
  list.in_blocks(false);
  list.in_fp8(false);
  list.in_flat(nullptr);
  image_embedder_.parameters("condition_embedder.image_embedder.", list);
  for (const auto& branch : branches_) branch->parameters(list);
  return list.take();
}

void Transformer::each_weight(const WeightVisitor& visit) {
  for (const Parameter& parameter : parameters()) each_tensor(parameter, visit);
  for (FlatParameter& flat : flat_) visit(flat.shard());
}

TransformerText Transformer::prepare_text(const at::Tensor& text_BTE, bool keep_keys,
                                          const at::Tensor& image_NTE) const {
  TransformerText text{{text_embedder_.forward(text_BTE)}, {}};
  if (image_NTE.defined()) text.contexts.push_back(image_embedder_.forward(image_NTE));
  if (!keep_keys) return text;
  UnshardedPass weights(flat_, weights_group_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    weights.enter(i);
    weights.prefetch();
    text.of_blocks.push_back(blocks_[i].with_keys(text.contexts));
  }
  return text;
}

at::Tensor Transformer::forward(const at::Tensor& latents_BCFYX, const at::Tensor& timestep_B,
                                const TransformerText& text, const at::Tensor& first_timestep_B,
                                const SequenceParallel& group) const {
  const PatchGrid grid = patch_embedding_.grid(latents_BCFYX);
  const TokenShare share = group.share(grid[0] * grid[1] * grid[2]);
  const Tokens tokens{group, share, group.take(rotary(grid), share, 0)};
  const std::int64_t of_first = first_timestep_B.defined() ? share.among_first(grid[1] * grid[2]) : 0;
  const TimeEmbeddings times = embed_times(first_timestep_B, of_first, timestep_B, share.count - of_first);
  at::Tensor x_BSD = patch_embedding_.forward(latents_BCFYX, tokens);
  if (x_BSD.size(0) < timestep_B.size(0)) x_BSD = x_BSD.expand({timestep_B.size(0), -1, -1}).contiguous();
  x_BSD = run_blocks(std::move(x_BSD), times, text, tokens);
  return head_.forward(x_BSD, times, tokens, grid);
}

const at::Tensor& Transformer::rotary(const PatchGrid& grid) const {
  if (!rotary_table_.defined() || rotary_grid_ != grid) {
    rotary_table_ = ops::rotary_table(grid, config_.attention_head_dim).to(device());
    rotary_grid_ = grid;
  }
  return rotary_table_;
}

TimeEmbeddings Transformer::embed_times(const at::Tensor& first_timestep_B, std::int64_t of_first,
                                        const at::Tensor& timestep_B, std::int64_t of_rest) const {
  TimeEmbeddings times;
  if (of_first > 0) times.push_back(time_embedder_.forward(first_timestep_B, of_first));
  if (of_rest > 0) times.push_back(time_embedder_.forward(timestep_B, of_rest));
  return times;
}

at::Tensor Transformer::run_blocks(at::Tensor x_BSD, const TimeEmbeddings& times, const TransformerText& text,
                                   const Tokens& tokens) const {
  std::vector<std::unique_ptr<BranchPass>> passes;
  for (const auto& branch : branches_) passes.push_back(branch->begin(x_BSD, times, text.contexts, tokens));
  UnshardedPass weights(flat_, weights_group_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    weights.enter(i);
    // Once a block has attended to itself, the rest of it is this rank's own business.
    x_BSD = blocks_[i].forward(std::move(x_BSD), times, text.of_block(i), tokens, [&] { weights.prefetch(); });
    for (const auto& pass : passes) x_BSD = pass->after(i, std::move(x_BSD));
  }
  return x_BSD;
}

}  // namespace nightreel::model

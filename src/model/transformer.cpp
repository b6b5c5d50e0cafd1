// B batch, C channels, F frames, Y rows, X columns of the latents; S tokens, one a patch; P elements of a patch;
// D width of the transformer, H heads; T rows of a prompt, E width of the text encoder.
#include "nightreel/model/transformer.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "nightreel/base/error.h"
#include "nightreel/model/weights.h"
#include "nightreel/ops/attention.h"
#include "nightreel/ops/modulation.h"
#include "nightreel/ops/norm.h"
#include "nightreel/ops/rotary.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;

/// Rows of the text that all prompts pad with, at least 2: the index of the first. None where the last rows differ.
std::optional<std::int64_t> first_padding_row(const at::Tensor& text_BTE) {
  const std::int64_t rows = text_BTE.size(1);
  const at::Tensor last_B1E = text_BTE.slice(1, rows - 1);
  const at::Tensor differs_T = (text_BTE != last_B1E).any(-1).any(0).nonzero().cpu();
  const std::int64_t first = differs_T.numel() == 0 ? 0 : differs_T[-1].item<std::int64_t>() + 1;
  if (rows - first < 2) return std::nullopt;
  return first;
}

/// What steers a run of tokens: the rows of a modulation table, each [B, D].
struct Modulation {
  std::int64_t tokens;
  std::vector<at::Tensor> rows_BD;
};

/// `change`(tokens of x, the modulation that is theirs) for each run of tokens, in their order.
template <class Change>
at::Tensor for_each_run(const std::vector<Modulation>& runs, const at::Tensor& x_BSD, const Change& change) {
  if (runs.size() == 1) return change(x_BSD, runs[0], 0);
  std::vector<at::Tensor> parts_BSD;
  std::int64_t from = 0;
  for (const Modulation& run : runs) {
    parts_BSD.push_back(change(x_BSD.narrow(1, from, run.tokens), run, from));
    from += run.tokens;
  }
  return at::cat(parts_BSD, 1);
}

at::Tensor modulated_norm(const std::vector<Modulation>& runs, const at::Tensor& x_BSD, std::size_t scale,
                          std::size_t shift, double eps) {
  return for_each_run(runs, x_BSD, [&](const at::Tensor& part_BSD, const Modulation& run, std::int64_t) {
    return ops::modulated_norm(part_BSD, run.rows_BD[scale], run.rows_BD[shift], eps);
  });
}

/// x is spent.
at::Tensor gated_add(const std::vector<Modulation>& runs, at::Tensor x_BSD, const at::Tensor& y_BSD, std::size_t gate) {
  return for_each_run(runs, x_BSD, [&](const at::Tensor& part_BSD, const Modulation& run, std::int64_t from) {
    return ops::gated_add(part_BSD, y_BSD.narrow(1, from, part_BSD.size(1)), run.rows_BD[gate]);
  });
}

std::string sizes_text(at::IntArrayRef shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

}  // namespace

Transformer::Transformer(const card::TransformerConfig& config, at::Device device, at::ScalarType dtype, bool fp8,
                         const ShardSeat& seat)
    : config_(config), device_(device), dtype_(dtype), fp8_(fp8), blocks_(static_cast<std::size_t>(config.num_layers)) {
  const std::int64_t half = config.freq_dim / 2;
  time_frequencies_ = at::arange(half, at::kFloat).mul_(-std::log(10000.0)).div_(half).exp_().to(device);
  shard(seat);
}

Transformer::Transformer(const card::TransformerConfig& config, WeightMap& weights, at::Device device,
                         at::ScalarType dtype, bool fp8, const ShardSeat& seat)
    : Transformer(config, device, dtype, fp8, seat) {
  load_parameters(parameters(), weights, device);
}

void Transformer::shard(const ShardSeat& seat) {
  flat_.clear();
  for (Block& block : blocks_) block = {};
  if (!seat.sharded()) return;
  flat_.resize(blocks_.size());
  for (const Parameter& parameter : parameters()) {
    if (parameter.flat != nullptr) lay_out(parameter);
  }
  for (FlatParameter& flat : flat_) flat.allocate(seat, device_);
}

std::vector<Parameter> Transformer::parameters() {
  ParameterList list(dtype_);
  const std::int64_t width = config_.width();
  const auto [patch_f, patch_y, patch_x] = config_.patch_size;
  list.convolution(patch_, "patch_embedding", {width, config_.in_channels, patch_f, patch_y, patch_x});
  const std::string embedder = "condition_embedder.";
  list.linear_f32(time_in_, embedder + "time_embedder.linear_1", config_.freq_dim, width);
  list.linear_f32(time_out_, embedder + "time_embedder.linear_2", width, width);
  list.linear(time_proj_, embedder + "time_proj", width, 6 * width);
  list.linear(text_in_, embedder + "text_embedder.linear_1", config_.text_dim, width);
  list.linear(text_out_, embedder + "text_embedder.linear_2", width, width);
  list.linear(proj_out_, "proj_out", width, config_.out_channels * patch_f * patch_y * patch_x);
  list.tensor_f32(table_12D_, "scale_shift_table", {1, 2, width});
  list.in_blocks(true);
  list.in_fp8(fp8_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) add_block(i, list);
  list.in_blocks(false);
  list.in_fp8(false);
  list.in_flat(nullptr);
  if (config_.image_dim > 0) add_image_embedder(list);
  return list.take();
}

void Transformer::each_weight(const WeightVisitor& visit) {
  for (const Parameter& parameter : parameters()) each_tensor(parameter, visit);
  for (FlatParameter& flat : flat_) visit(flat.shard());
}

void Transformer::add_block(std::size_t index, ParameterList& list) {
  const std::int64_t width = config_.width();
  const std::string block = "blocks." + std::to_string(index) + ".";
  const std::string self = block + "attn1.";
  const std::string cross = block + "attn2.";
  Block& b = blocks_[index];
  list.in_flat(flat_.empty() ? nullptr : &flat_[index]);
  list.tensor_f32(b.table_16D, block + "scale_shift_table", {1, 6, width});
  list.fused(b.self_qkv, self, {"to_q", "to_k", "to_v"}, width, width);
  list.linear(b.self_out, self + "to_out.0", width, width);
  list.tensor(b.self_norm_q, self + "norm_q.weight", {width});
  list.tensor(b.self_norm_k, self + "norm_k.weight", {width});
  list.linear(b.cross_q, cross + "to_q", width, width);
  list.fused(b.cross_kv, cross, {"to_k", "to_v"}, width, width);
  list.linear(b.cross_out, cross + "to_out.0", width, width);
  list.tensor(b.cross_norm_q, cross + "norm_q.weight", {width});
  list.tensor(b.cross_norm_k, cross + "norm_k.weight", {width});
  if (config_.image_dim > 0) {
    list.fused(b.image_kv, cross, {"add_k_proj", "add_v_proj"}, width, width);
    list.tensor(b.image_norm_k, cross + "norm_added_k.weight", {width});
    list.stray(cross + "norm_added_q.weight");
  }
  if (config_.cross_attn_norm) {
    list.tensor_f32(b.norm2_weight, block + "norm2.weight", {width});
    list.tensor_f32(b.norm2_bias, block + "norm2.bias", {width});
  }
  list.linear(b.ffn_in, block + "ffn.net.0.proj", width, config_.ffn_dim);
  list.linear(b.ffn_out, block + "ffn.net.2", config_.ffn_dim, width);
}

void Transformer::add_image_embedder(ParameterList& list) {
  const std::string embedder = "condition_embedder.image_embedder.";
  const std::int64_t in = config_.image_dim;
  const std::int64_t width = config_.width();
  ImageEmbedder& image = image_embedder_;
  list.tensor_f32(image.norm_in_weight, embedder + "norm1.weight", {in});
  list.tensor_f32(image.norm_in_bias, embedder + "norm1.bias", {in});
  list.linear(image.in, embedder + "ff.net.0.proj", in, in);
  list.linear(image.out, embedder + "ff.net.2", in, width);
  list.tensor_f32(image.norm_out_weight, embedder + "norm2.weight", {width});
  list.tensor_f32(image.norm_out_bias, embedder + "norm2.bias", {width});
  if (config_.pos_embed_seq_len > 0) {
    list.tensor(image.positions_1TE, embedder + "pos_embed", {1, config_.pos_embed_seq_len, in});
  }
}

at::Tensor Transformer::embed_image(const at::Tensor& image_NTE) const {
  constexpr double kEps = 1e-5;  // FP32LayerNorm's default
  const ImageEmbedder& image = image_embedder_;
  if (image_NTE.dim() != 3 || image_NTE.size(2) != config_.image_dim) {
    throw Error(ErrorKind::model, "transformer: image_dim is " + std::to_string(config_.image_dim) +
                                      ", but the image encoder gives " + sizes_text(image_NTE.sizes()));
  }
  at::Tensor x_1TE = image_NTE.to(device_, dtype_);
  if (image.positions_1TE.defined()) {
    x_1TE = x_1TE.reshape({1, -1, config_.image_dim});
    if (x_1TE.size(1) != config_.pos_embed_seq_len) {
      throw Error(ErrorKind::model, "transformer: pos_embed_seq_len is " + std::to_string(config_.pos_embed_seq_len) +
                                        ", but the pictures have " + std::to_string(x_1TE.size(1)) + " vectors");
    }
    x_1TE = x_1TE + image.positions_1TE;
  }
  x_1TE = ops::layer_norm(x_1TE, image.norm_in_weight, image.norm_in_bias, kEps);
  return ops::layer_norm(image.out(at::gelu(image.in(x_1TE))), image.norm_out_weight, image.norm_out_bias, kEps);
}

TransformerText Transformer::prepare_text(const at::Tensor& text_BTE, bool keep_keys,
                                          const at::Tensor& image_NTE) const {
  if (text_BTE.size(2) != config_.text_dim) {
    throw Error(ErrorKind::model, "transformer: text_dim is " + std::to_string(config_.text_dim) +
                                      ", but the text encoder's width is " + std::to_string(text_BTE.size(2)));
  }
  at::Tensor rows_BTE = text_BTE.to(device_, dtype_);
  TransformerText text;
  // Not in bfloat16, whose 8 bits would blur the weight of the folded rows.
  if (dtype_ == at::kFloat) {
    if (const auto first = first_padding_row(rows_BTE)) {
      const auto folded = static_cast<double>(rows_BTE.size(1) - *first);
      rows_BTE = rows_BTE.slice(1, 0, *first + 1);
      text.bias_T = at::zeros({*first + 1}, at::kFloat);
      text.bias_T[-1].fill_(std::log(folded));
      text.bias_T = text.bias_T.to(device_);
    }
  }
  text.text_BTD = text_out_(at::gelu(text_in_(rows_BTE), "tanh"));
  if (image_NTE.defined()) text.image_1TD = embed_image(image_NTE);
  if (!keep_keys) return text;
  UnshardedPass weights(flat_, weights_group_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    weights.enter(i);
    weights.prefetch();
    const Block& block = blocks_[i];
    for (at::Tensor& part : keys_and_values(block, text.text_BTD)) text.key_value_BTHD.push_back(part.contiguous());
    if (!text.image_1TD.defined()) continue;
    for (at::Tensor& part : image_keys_and_values(block, text.image_1TD)) {
      text.image_key_value_1THD.push_back(part.contiguous());
    }
  }
  return text;
}

at::Tensor Transformer::forward(const at::Tensor& latents_BCFYX, const at::Tensor& timestep_B,
                                const TransformerText& text, const at::Tensor& first_timestep_B,
                                const SequenceParallel& group) const {
  const std::array<std::int64_t, 3> grid = patch_grid(latents_BCFYX);
  const TokenShare share = group.share(grid[0] * grid[1] * grid[2]);
  const Tokens tokens{group, share, group.take(rotary(grid), share, 0)};
  const std::int64_t of_first = first_timestep_B.defined() ? share.among_first(grid[1] * grid[2]) : 0;
  Times times;
  if (of_first > 0) times.push_back(embed_time(first_timestep_B, of_first));
  const std::int64_t of_rest = share.count - of_first;
  if (of_rest > 0) times.push_back(embed_time(timestep_B, of_rest));
  at::Tensor x_BSD = patch_(group.take(patchify(latents_BCFYX.to(device_, dtype_), grid), share, 1));
  if (x_BSD.size(0) < timestep_B.size(0)) x_BSD = x_BSD.expand({timestep_B.size(0), -1, -1}).contiguous();
  UnshardedPass weights(flat_, weights_group_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    weights.enter(i);
    x_BSD = run_block(i, std::move(x_BSD), times, text, tokens, weights);
  }
  return unpatchify(group.gather(head(x_BSD, times), share), grid);
}

std::array<std::int64_t, 3> Transformer::patch_grid(const at::Tensor& latents_BCFYX) const {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::job, "transformer: latents of " + sizes_text(latents_BCFYX.sizes()) + " " + why);
  };
  if (latents_BCFYX.dim() != 5) refuse("are not batch, channels, frames, rows, columns");
  if (latents_BCFYX.size(1) != config_.in_channels)
    refuse("where in_channels is " + std::to_string(config_.in_channels));
  std::array<std::int64_t, 3> grid{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t size = latents_BCFYX.size(static_cast<std::int64_t>(axis) + 2);
    if (size == 0 || size % config_.patch_size[axis] != 0) {
      refuse("do not divide into patches of " + sizes_text(config_.patch_size));
    }
    grid[axis] = size / config_.patch_size[axis];
    if (grid[axis] > config_.rope_max_seq_len) {
      refuse("have more patches along one axis than rope_max_seq_len, " + std::to_string(config_.rope_max_seq_len));
    }
  }
  return grid;
}

const at::Tensor& Transformer::rotary(const std::array<std::int64_t, 3>& grid) const {
  if (!rotary_table_.defined() || rotary_grid_ != grid) {
    rotary_table_ = ops::rotary_table(grid, config_.attention_head_dim).to(device_);
    rotary_grid_ = grid;
  }
  return rotary_table_;
}

Transformer::Time Transformer::embed_time(const at::Tensor& timestep_B, std::int64_t tokens) const {
  const at::Tensor angles = timestep_B.to(device_, at::kFloat).unsqueeze(1) * time_frequencies_;
  const at::Tensor waves = at::cat({angles.cos(), angles.sin()}, -1);
  const at::Tensor embedding_BD = time_out_(at::silu(time_in_(waves))).to(dtype_);
  const at::Tensor modulation = time_proj_(at::silu(embedding_BD)).unflatten(1, {6, -1});
  return {tokens, embedding_BD.to(at::kFloat), modulation.to(at::kFloat)};
}

at::Tensor Transformer::patchify(const at::Tensor& latents_BCFYX, const std::array<std::int64_t, 3>& grid) const {
  const auto [f, y, x] = grid;
  const auto [pf, py, px] = config_.patch_size;
  return latents_BCFYX.reshape({-1, config_.in_channels, f, pf, y, py, x, px})
      .permute({0, 2, 4, 6, 1, 3, 5, 7})
      .reshape({latents_BCFYX.size(0), f * y * x, -1});
}

at::Tensor Transformer::unpatchify(const at::Tensor& x_BSP, const std::array<std::int64_t, 3>& grid) const {
  const auto [f, y, x] = grid;
  const auto [pf, py, px] = config_.patch_size;
  return x_BSP.reshape({-1, f, y, x, pf, py, px, config_.out_channels})
      .permute({0, 7, 1, 4, 2, 5, 3, 6})
      .reshape({x_BSP.size(0), config_.out_channels, f * pf, y * py, x * px});
}

at::Tensor Transformer::split_heads(const at::Tensor& x_BSD) const {
  return x_BSD.unflatten(-1, {config_.num_attention_heads, config_.attention_head_dim});
}

std::array<at::Tensor, 2> Transformer::keys_and_values(const Block& block, const at::Tensor& text_BTD) const {
  const std::vector<at::Tensor> kv_BTD = block.cross_kv(text_BTD).chunk(2, -1);
  return {split_heads(ops::rms_norm(kv_BTD[0], block.cross_norm_k, config_.eps)), split_heads(kv_BTD[1])};
}

std::array<at::Tensor, 2> Transformer::image_keys_and_values(const Block& block, const at::Tensor& image_1TD) const {
  const std::vector<at::Tensor> kv_1TD = block.image_kv(image_1TD).chunk(2, -1);
  return {split_heads(ops::rms_norm(kv_1TD[0], block.image_norm_k, config_.eps)), split_heads(kv_1TD[1])};
}

at::Tensor Transformer::self_attention(const Block& block, const at::Tensor& x_BSD, const Tokens& tokens) const {
  const std::vector<at::Tensor> qkv_BSD = block.self_qkv(x_BSD).chunk(3, -1);
  const at::Tensor q = split_heads(ops::rms_norm(qkv_BSD[0], block.self_norm_q, config_.eps));
  const at::Tensor k = split_heads(ops::rms_norm(qkv_BSD[1], block.self_norm_k, config_.eps));
  const at::Tensor mixed_BSHD =
      tokens.group.attention(ops::apply_rotary(q, tokens.table_SP2), ops::apply_rotary(k, tokens.table_SP2),
                             split_heads(qkv_BSD[2]), tokens.share);
  return block.self_out(mixed_BSHD.flatten(2));
}

at::Tensor Transformer::cross_attention(const Block& block, std::size_t index, const at::Tensor& x_BSD,
                                        const TransformerText& text) const {
  const at::Tensor q = split_heads(ops::rms_norm(block.cross_q(x_BSD), block.cross_norm_q, config_.eps));
  const std::array<at::Tensor, 2> kv_BTHD =
      text.key_value_BTHD.empty()
          ? keys_and_values(block, text.text_BTD)
          : std::array<at::Tensor, 2>{text.key_value_BTHD[2 * index], text.key_value_BTHD[2 * index + 1]};
  at::Tensor mixed_BSHD = ops::attention(q, kv_BTHD[0], kv_BTHD[1], text.bias_T);
  if (text.image_1TD.defined()) mixed_BSHD = mixed_BSHD + image_attention(block, index, q, text);
  return block.cross_out(mixed_BSHD.flatten(2));
}

at::Tensor Transformer::image_attention(const Block& block, std::size_t index, const at::Tensor& q_BSHD,
                                        const TransformerText& text) const {
  const std::array<at::Tensor, 2> kv_1THD =
      text.image_key_value_1THD.empty()
          ? image_keys_and_values(block, text.image_1TD)
          : std::array<at::Tensor, 2>{text.image_key_value_1THD[2 * index], text.image_key_value_1THD[2 * index + 1]};
  const std::int64_t batch = q_BSHD.size(0);
  return ops::attention(q_BSHD, kv_1THD[0].expand({batch, -1, -1, -1}), kv_1THD[1].expand({batch, -1, -1, -1}));
}

at::Tensor Transformer::run_block(std::size_t index, at::Tensor x_BSD, const Times& times, const TransformerText& text,
                                  const Tokens& tokens, UnshardedPass& weights) const {
  enum Row : std::size_t { kShift, kScale, kGate, kFfnShift, kFfnScale, kFfnGate };  // of the modulation table
  const Block& block = blocks_[index];
  std::vector<Modulation> runs;
  for (const Time& time : times) runs.push_back({time.tokens, (block.table_16D + time.modulation_B6D).unbind(1)});

  at::Tensor normed = modulated_norm(runs, x_BSD, kScale, kShift, config_.eps);
  x_BSD = gated_add(runs, std::move(x_BSD), self_attention(block, normed, tokens), kGate);
  weights.prefetch();  // the rest of the block is this rank's own business

  // Prompts that share latents and time step are told apart by the text: up to here, once for all.
  if (x_BSD.size(0) != text.text_BTD.size(0)) x_BSD = x_BSD.expand({text.text_BTD.size(0), -1, -1}).contiguous();
  normed = config_.cross_attn_norm ? ops::layer_norm(x_BSD, block.norm2_weight, block.norm2_bias, config_.eps) : x_BSD;
  x_BSD.add_(cross_attention(block, index, normed, text));

  normed = modulated_norm(runs, x_BSD, kFfnScale, kFfnShift, config_.eps);
  at::Tensor hidden = block.ffn_in(normed);
  return gated_add(runs, std::move(x_BSD), block.ffn_out(at::gelu_(hidden, "tanh")), kFfnGate);
}

at::Tensor Transformer::head(const at::Tensor& x_BSD, const Times& times) const {
  enum Row : std::size_t { kShift, kScale };
  std::vector<Modulation> runs;
  for (const Time& time : times) runs.push_back({time.tokens, (table_12D_ + time.embedding_BD.unsqueeze(1)).unbind(1)});
  return proj_out_(modulated_norm(runs, x_BSD, kScale, kShift, config_.eps));
}

}  // namespace nightreel::model

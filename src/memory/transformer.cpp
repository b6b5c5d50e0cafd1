// The transformer: src/model/block.cpp and attention.cpp. Per token and channel of the width, in elements of the
// activations' precision (e bytes), the tensors that live at once are
//   norm of keys  x, q|k|v (3), turned q, normed k                                              6 e + two in float32
//   turning them  x, q|k|v, turned q, normed k, turned k                                        7 e
//   attention     x, q|k|v, turned q and k, mixed                                               7 e
//   feed-forward  x, hidden (ffn_dim / width), its output                                      (2 + ffn/width) e
//   gated sum     x, what is added, their sum                                                   3 e + three in float32
//   looking at the text: x, q, mixed, out (4 e), or x, q and its norm (3 e + two in float32); and for each of its rows
//   keys and values, one way and another
// where what is in float32 counts where e < 4 alone, and on a CPU turning keys goes through two in float32 too.
// Attention itself keeps no matrix of scores: LibTorch's fused kernels.
#include <algorithm>

#include "memory/lengths.h"
#include "nightreel/card/card.h"
#include "nightreel/memory/modules.h"
#include "nightreel/memory/sizes.h"

namespace nightreel::memory {
namespace {

using settings::Settings;

// Patches of the latents: what the transformer attends over.
std::int64_t tokens_of(const MemoryModel& model, const Settings& s) {
  const auto& patch = model.transformer->patch_size;
  return latent_frames(model, s) / patch[0] * (s.height / model.vae.scale_factor_spatial / patch[1]) *
         (s.width / model.vae.scale_factor_spatial / patch[2]);
}

// Cells of the latents.
std::int64_t cells_of(const MemoryModel& model, const Settings& s) {
  const auto& patch = model.transformer->patch_size;
  return tokens_of(model, s) * patch[0] * patch[1] * patch[2];
}

// Ranks that deal out the tokens of one prompt: of an even group with guidance each half has a prompt of its own.
std::int64_t sequence_ranks(const MemoryModel& model, const Settings& s) {
  return model.group % 2 == 0 && s.guidance_scale > 1 ? model.group / 2 : model.group;
}

std::int64_t tokens_here(const MemoryModel& model, const Settings& s) {
  const std::int64_t ranks = sequence_ranks(model, s);
  return (tokens_of(model, s) + ranks - 1) / ranks;
}

std::int64_t text_rows(const MemoryModel& model) {
  return model.text ? card::kTextLen : 0;
}

// Both prompts as one, where they go through together.
std::int64_t batch_of(const MemoryModel& model, const Settings& s) {
  return model.both_prompts && s.guidance_scale > 1 ? 2 : 1;
}

// Of the rotations of the tokens that are computed here.
std::int64_t table_bytes(const MemoryModel& model, const Settings& s) {
  return tokens_here(model, s) * model.transformer->attention_head_dim * kFloat;
}

// Bytes of a token in the block's widest moment, all channels.
std::int64_t block_bytes_a_token(const MemoryModel& model, bool two_times) {
  const std::int64_t e = model.element_bytes;
  const std::int64_t in_float = e < kFloat ? kFloat : 0;
  const std::int64_t keys_norm = 6 * e + 2 * in_float;
  const std::int64_t turning = 7 * e + (model.gpu ? 0 : 2 * in_float);
  const std::int64_t gated_sum = 3 * e + 3 * in_float + (two_times ? e : 0);  // both runs of tokens, put together again
  const std::int64_t width = model.transformer->width();
  const std::int64_t feed_forward = 2 * e * width + e * model.transformer->ffn_dim;
  return std::max(std::max(std::max(keys_norm, turning), gated_sum) * width, feed_forward);
}

}  // namespace

std::uint64_t transformer_bytes(const MemoryModel& model, const Settings& s) {
  const std::int64_t batch = batch_of(model, s);
  const auto& t = *model.transformer;
  const std::int64_t ranks = sequence_ranks(model, s);
  const std::int64_t tokens = tokens_here(model, s);
  const bool two_times = !s.image.empty() && t.in_channels == t.out_channels;
  const std::int64_t text = batch * text_rows(model) * t.width() * model.element_bytes;
  const std::int64_t in_float = model.element_bytes < kFloat ? kFloat : 0;
  const std::int64_t looks_at_text =
      std::max(4 * model.element_bytes, 3 * model.element_bytes + 2 * in_float) * batch * tokens * t.width() + 4 * text;
  // Queries, keys and values, packed for the others and as they come; in a ring three more, since sums are float32.
  const std::int64_t exchanged = ranks > 1 ? 9 * batch * tokens * t.width() * model.element_bytes : 0;
  return unsigned_of(std::max(batch * tokens * block_bytes_a_token(model, two_times) + exchanged, looks_at_text) +
                     table_bytes(model, s) + text) +
         model.unpacked + model.gathered();
}

std::uint64_t keys_bytes(const MemoryModel& model, const Settings& s) {
  if (!model.keep_keys) return 0;
  const auto& t = *model.transformer;
  const std::int64_t rows = batch_of(model, s) * text_rows(model) + 2 * (model.clip ? model.clip->tokens() : 0);
  return unsigned_of(2 * t.num_layers * rows * t.width() * model.element_bytes);
}

// Start noise, its picture condition, the velocities of both prompts and their difference, three steps that UniPC looks
// back on, and the pass's own input and output.
std::uint64_t latents_bytes(const MemoryModel& model, const Settings& s) {
  const auto& t = *model.transformer;
  return unsigned_of(cells_of(model, s) * kFloat * (9 * t.out_channels + 3 * t.in_channels));
}

std::uint64_t kept_bytes(const MemoryModel& model, const Settings& s) {
  const auto& t = *model.transformer;
  const std::int64_t tables = tokens_of(model, s) * t.attention_head_dim * kFloat * (model.two_experts() ? 2 : 1);
  const std::int64_t prompts = kCachedPrompts * text_rows(model) * t.text_dim * model.element_bytes;
  return unsigned_of(tables + prompts + cells_of(model, s) * kFloat * t.in_channels);
}

}  // namespace nightreel::memory

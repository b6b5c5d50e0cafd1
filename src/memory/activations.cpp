// What a video needs beside the weights, from the order in which the modules make and drop their tensors.
//
// Transformer: src/model/block.cpp, forward(). Per token and channel of the width, in elements of the
// activations' precision (e bytes), the tensors that live at once are
//   attention   x, normed, q|k|v (3), normed q and k (2), turned q and k (2), mixed            10 e
//   rotation    x, normed, q|k|v, normed q and k, turned k                                      8 e + turning q
//   feed-forward x, normed, hidden (ffn_dim / width), its output                               (3 + ffn/width) e
//   looking at the text: x, normed, q, mixed, out (5 e), and for each of its rows keys and values, one way and another
// where turning q on a CPU goes through float32 (4 bytes, and 4 more for a copy where e < 4), and where e < 4 the gated
// sum behind the feed-forward does so with three tensors of 4 bytes. Attention itself keeps no matrix of scores:
// LibTorch's fused kernels. The VAE: src/model/vae_layers.cpp; every causal convolution keeps its last two frames until
// the video's end, and all share one window, as large as the largest of two frames and the piece's own. In float32.
//
// On the CPU these are held against measured peaks (tests/pipeline/memory_test.cpp). On a GPU, where cuDNN chooses
// workspaces and attention another kernel, nothing has been measured: plan_memory() keeps a reserve.
#include "nightreel/memory/activations.h"

#include <algorithm>

namespace nightreel::memory {
namespace {

using settings::Settings;

constexpr std::int64_t kFloat = 4;         // bytes of a float32
constexpr std::int64_t kTile = 256;        // model::Tiling's height and width
constexpr std::int64_t kFramesAPiece = 4;  // of pixels, after the first
constexpr std::int64_t kBesideBands = 14;  // of a whole picture's decoding by Wan 2.1's VAE, what bands do not divide

std::uint64_t unsigned_of(std::int64_t bytes) {
  return static_cast<std::uint64_t>(bytes);
}

std::int64_t latent_frames(const MemoryModel& model, const Settings& s) {
  return (s.num_frames - 1) / model.vae.scale_factor_temporal + 1;
}

// Patches of the latents: what the transformer attends over.
std::int64_t tokens_of(const MemoryModel& model, const Settings& s) {
  const auto& patch = model.transformer->patch_size;
  return latent_frames(model, s) / patch[0] * (s.height / model.vae.scale_factor_spatial / patch[1]) *
         (s.width / model.vae.scale_factor_spatial / patch[2]);
}

// Ranks that deal out the tokens of one prompt: of an even group with guidance each half has a prompt of its own.
std::int64_t sequence_ranks(const MemoryModel& model, const Settings& s) {
  return model.group % 2 == 0 && s.guidance_scale > 1 ? model.group / 2 : model.group;
}

std::int64_t text_rows(const MemoryModel& model) {
  return model.text ? card::kTextLen : 0;
}

// Bytes of a token in the block's widest moment, all channels.
std::int64_t block_bytes_a_token(const MemoryModel& model, bool two_times) {
  const std::int64_t e = model.element_bytes;
  const std::int64_t width = model.transformer->width();
  const std::int64_t to_float = e < kFloat ? kFloat + e : 0;  // a copy in float32, and the way back
  const std::int64_t attention = 10 * e;
  const std::int64_t rotation = 8 * e + (model.gpu ? e : kFloat + to_float);
  const std::int64_t gated_sum = e < kFloat ? 3 * kFloat + e : 0;
  const std::int64_t joined = two_times ? e : 0;  // the two runs of tokens, put together again
  const std::int64_t feed_forward = (3 * e + gated_sum + joined) * width + e * model.transformer->ffn_dim;
  return std::max(std::max(attention, rotation) * width, feed_forward);
}

std::uint64_t blocks_of(const MemoryModel& model, const Settings& s, std::int64_t batch) {
  const auto& t = *model.transformer;
  const std::int64_t ranks = sequence_ranks(model, s);
  const std::int64_t tokens = (tokens_of(model, s) + ranks - 1) / ranks;
  const bool two_times = !s.image.empty() && t.in_channels == t.out_channels;
  const std::int64_t table = tokens * t.attention_head_dim * kFloat;  // of the rotation
  const std::int64_t text = batch * text_rows(model) * t.width() * model.element_bytes;
  const std::int64_t looks_at_text = 5 * batch * tokens * t.width() * model.element_bytes + 4 * text;
  // Queries, keys and values, packed for the others and as they come; in a ring three more, since sums are float32.
  const std::int64_t exchanged = ranks > 1 ? 9 * batch * tokens * t.width() * model.element_bytes : 0;
  return unsigned_of(std::max(batch * tokens * block_bytes_a_token(model, two_times) + exchanged, looks_at_text) +
                     table + text);
}

std::uint64_t keys_of(const MemoryModel& model, std::int64_t batch) {
  if (!model.keep_keys) return 0;
  const auto& t = *model.transformer;
  const std::int64_t rows = batch * text_rows(model) + 2 * (model.clip ? model.clip->tokens() : 0);
  return unsigned_of(2 * t.num_layers * rows * t.width() * model.element_bytes);
}

// Start noise, its picture condition, the velocities of both prompts and their difference, three steps that UniPC looks
// back on, and the pass's own input and output.
std::uint64_t latents_of(const MemoryModel& model, const Settings& s) {
  const auto& t = *model.transformer;
  const auto& patch = t.patch_size;
  const std::int64_t cells = tokens_of(model, s) * patch[0] * patch[1] * patch[2];
  return unsigned_of(cells * kFloat * (9 * t.out_channels + 3 * t.in_channels));
}

// Of one layer: both gates of the feed-forward in float32, queries, keys and values, the scores with their bias.
std::uint64_t layer_bytes(std::int64_t tokens, std::int64_t width, std::int64_t ffn_dim, std::int64_t heads) {
  const std::int64_t rows = tokens * (8 * width + 3 * ffn_dim);
  const std::int64_t scores = 3 * heads * tokens * tokens;
  return unsigned_of((rows + scores) * kFloat);
}

std::uint64_t text_bytes(const MemoryModel& model) {
  if (!model.text) return 0;
  return layer_bytes(card::kTextLen, model.text->d_model, model.text->d_ff, model.text->num_heads);
}

std::uint64_t clip_bytes(const MemoryModel& model) {
  if (!model.clip) return 0;
  const card::ClipVisionConfig& c = *model.clip;
  return layer_bytes(c.tokens(), c.hidden_size, c.intermediate_size, c.num_attention_heads);
}

// Frames on their way through a VAE's layers: `frames` of `cells` pixels each.
class Walk {
 public:
  Walk(std::int64_t frames, std::int64_t cells) : frames_(frames), cells_(cells) {}

  /// A causal convolution over `channels`: `context` frames stay.
  void keep(std::int64_t channels, std::int64_t context = 2) {
    kept_ += context * cells_ * channels;
    window_ = std::max(window_, (context + frames_) * cells_ * channels);
  }
  /// So many channels live at once, of the frames as they are.
  void need(std::int64_t channels) { peak_ = std::max(peak_, frames_ * cells_ * channels); }
  /// norm, convolution, norm, convolution; `held`: channels that somebody else keeps.
  void residual(std::int64_t in, std::int64_t out, std::int64_t held) {
    keep(in);
    keep(out);
    need(held + in + 2 * out + (in == out ? 0 : out));
  }
  void middle(std::int64_t channels) {
    residual(channels, channels, 0);
    need(7 * channels);  // attention: x, normed, q|k|v, mixed, out
    residual(channels, channels, 0);
  }
  void grow(std::int64_t side, std::int64_t time) {
    cells_ *= side * side;
    frames_ *= time;
  }
  void shrink(std::int64_t side, std::int64_t time) {
    cells_ /= side * side;
    frames_ = std::max<std::int64_t>(1, frames_ / time);
  }
  std::int64_t bytes() const { return (kept_ + window_ + peak_) * kFloat; }

 private:
  std::int64_t frames_;
  std::int64_t cells_;
  std::int64_t kept_ = 0;
  std::int64_t window_ = 0;
  std::int64_t peak_ = 0;
};

// Of rows that `bands` ranks deal out among them, the most that one has, with what it sees of its neighbours'.
std::int64_t band_of(std::int64_t rows, std::int64_t bands) {
  return bands == 1 ? rows : std::min(rows, (rows + bands - 1) / bands + 2);
}

// One latent frame after the first, of `rows` x `columns`, to four of pixels. `several`: there is more than the first.
std::int64_t decode_bytes(const card::VaeConfig& v, std::int64_t rows, std::int64_t columns, bool several) {
  const std::size_t stages = v.dim_mult.size();
  Walk walk(1, rows * columns);
  std::int64_t width = v.decoder_base_dim * v.dim_mult.back();
  walk.keep(v.z_dim);
  walk.middle(width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::int64_t before = width;
    const std::int64_t out = v.decoder_base_dim * v.dim_mult[stages - 1 - i];
    for (std::int64_t j = 0; j <= v.num_res_blocks; ++j) walk.residual(j == 0 ? before : out, out, j == 0 ? 0 : before);
    width = out;
    if (i + 1 == stages) break;
    const std::int64_t time = several && v.temperal_downsample[stages - 2 - i] ? 2 : 1;
    if (time == 2) walk.keep(out);
    if (!v.is_residual) width = out / 2;
    const std::int64_t doubled = 4 * time * out;
    const std::int64_t made = 4 * time * width;
    walk.need(before + out + (time == 2 ? 2 * out : 0) + doubled + made);
    if (v.is_residual) walk.need(before + 3 * made);  // the shortcut: repeated, then put in order
    walk.grow(2, time);
  }
  walk.keep(width);
  walk.need(width + 4 * v.cell_channels());
  return walk.bytes();
}

// Four frames of pixels to a latent frame, and the whole video that they are taken from.
std::int64_t encode_bytes(const card::VaeConfig& v, std::int64_t height, std::int64_t width, const Settings& s,
                          std::int64_t frames, std::int64_t bands) {
  const bool several = frames > 1;
  const std::int64_t rows = band_of(height / v.scale_factor_spatial, bands) * v.scale_factor_spatial;
  Walk walk(several ? kFramesAPiece : 1, rows / v.patch_size * (width / v.patch_size));
  std::int64_t channels = v.base_dim;
  walk.keep(v.cell_channels());
  walk.need(v.cell_channels() + channels);
  for (std::size_t i = 0; i < v.dim_mult.size(); ++i) {
    const std::int64_t before = channels;
    const std::int64_t out = v.base_dim * v.dim_mult[i];
    const std::int64_t held = v.is_residual ? before : 0;
    for (std::int64_t j = 0; j < v.num_res_blocks; ++j) walk.residual(j == 0 ? before : out, out, j == 0 ? 0 : held);
    channels = out;
    if (i + 1 == v.dim_mult.size()) break;
    const std::int64_t time = several && v.temperal_downsample[i] ? 2 : 1;
    walk.need(held + 2 * out + (out + 3) / 4);                 // padded, then a quarter of the cells
    if (v.is_residual) walk.need(3 * before + (out + 1) / 2);  // the shortcut: padded, dealt out, averaged
    walk.shrink(2, 1);
    if (time == 2) walk.keep(out, 1);
    walk.shrink(1, time);
  }
  walk.middle(channels);
  walk.keep(channels);
  const std::int64_t copies = 2;  // as the pipeline gives them, and as the layers want them
  return walk.bytes() + copies * kFloat * 3 * frames * s.height * s.width;
}

std::uint64_t picture_bytes(const MemoryModel& model, const Settings& s, bool tiled) {
  if (s.image.empty()) return 0;
  const bool first_frame_alone =
      !model.transformer || model.transformer->in_channels == model.transformer->out_channels;
  const std::int64_t side =
      tiled ? kTile * model.vae.patch_size : std::max(s.height, s.width);  // encoding counts cells
  const std::int64_t coding = encode_bytes(model.vae, std::min(side, s.height), std::min(side, s.width), s,
                                           first_frame_alone ? 1 : s.num_frames, tiled ? 1 : model.group);
  return std::max(unsigned_of(coding), 2 * clip_bytes(model));
}

}  // namespace

Activations activations_of(const MemoryModel& model, const Settings& settings, const Tiled& tiled) {
  const std::int64_t batch = model.both_prompts && settings.guidance_scale > 1 ? 2 : 1;
  Activations need;
  need.text = text_bytes(model);
  need.picture = picture_bytes(model, settings, tiled.encode);
  if (model.transformer) {
    need.blocks = blocks_of(model, settings, batch) + model.unpacked + model.gathered();
    need.keys = keys_of(model, batch);
    need.latents = latents_of(model, settings);
  }
  const std::int64_t side = tiled.decode ? kTile : std::max(settings.height, settings.width);
  const std::int64_t bands = tiled.decode ? 1 : model.group;
  const std::int64_t rows = band_of(std::min(side, settings.height) / model.vae.scale_factor_spatial, bands);
  need.decode =
      unsigned_of(decode_bytes(model.vae, rows, std::min(side, settings.width) / model.vae.scale_factor_spatial,
                               latent_frames(model, settings) > 1));
  if (bands > 1) {  // each rank's rows, and all of them put together, twice; and what was counted beside them
    const std::int64_t whole =
        decode_bytes(model.vae, settings.height / model.vae.scale_factor_spatial,
                     settings.width / model.vae.scale_factor_spatial, latent_frames(model, settings) > 1);
    need.decode += 3 * unsigned_of(kFramesAPiece * settings.height * settings.width * 3 * kFloat) +
                   (model.vae.is_residual ? 0 : unsigned_of(whole / kBesideBands));
  }
  return need;
}

}  // namespace nightreel::memory

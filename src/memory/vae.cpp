// The VAE: src/model/vae_layers.cpp; every causal convolution keeps its last two frames until the video's end, and all
// share one window, as large as the largest of two frames and the piece's own. In float32.
#include <algorithm>

#include "memory/lengths.h"
#include "nightreel/memory/modules.h"
#include "nightreel/memory/sizes.h"

namespace nightreel::memory {
namespace {

using settings::Settings;

constexpr std::int64_t kBesideBands = 14;  // of a whole picture's decoding by Wan 2.1's VAE, what bands do not divide

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
std::int64_t decode_piece(const card::VaeConfig& v, std::int64_t rows, std::int64_t columns, bool several) {
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
std::int64_t encode_piece(const card::VaeConfig& v, std::int64_t height, std::int64_t width, const Settings& s,
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

}  // namespace

std::uint64_t vae_encoder_bytes(const MemoryModel& model, const Settings& s, bool tiled) {
  if (s.image.empty()) return 0;
  const bool first_frame_alone =
      !model.transformer || model.transformer->in_channels == model.transformer->out_channels;
  // In tiles encoding counts cells, as diffusers does.
  const std::int64_t side = tiled ? kTileSide * model.vae.patch_size : std::max(s.height, s.width);
  return unsigned_of(encode_piece(model.vae, std::min(side, s.height), std::min(side, s.width), s,
                                  first_frame_alone ? 1 : s.num_frames, tiled ? 1 : model.group));
}

std::uint64_t vae_decoder_bytes(const MemoryModel& model, const Settings& s, bool tiled) {
  const std::int64_t scale = model.vae.scale_factor_spatial;
  const bool several = latent_frames(model, s) > 1;
  const std::int64_t side = tiled ? kTileSide : std::max(s.height, s.width);
  const std::int64_t bands = tiled ? 1 : model.group;
  const std::int64_t rows = band_of(std::min(side, s.height) / scale, bands);
  const std::int64_t piece = decode_piece(model.vae, rows, std::min(side, s.width) / scale, several);
  if (bands == 1) return unsigned_of(piece);
  // Each rank's rows, and all of them put together, twice; and what was counted beside them.
  const std::int64_t put_together = 3 * kFramesAPiece * s.height * s.width * 3 * kFloat;
  const std::int64_t whole = decode_piece(model.vae, s.height / scale, s.width / scale, several);
  return unsigned_of(piece + put_together + (model.vae.is_residual ? 0 : whole / kBesideBands));
}

}  // namespace nightreel::memory

// Transformer (src/model/block.cpp), for S tokens, T = 512 rows of text, width D, feed-forward width F, text
// width E, and P numbers of a patch:
//   each block   2 S (4 D² self-attention's products + 2 D² the cross-attention's + 2 D F) + 4 S² D
//                + 2 T 2 D² keys and values of the text + 4 S T D
//   beside them  2 S (P_in D + D P_out) + 2 T (E D + D²) + 2 (freq D + 7 D²) for the time step
// UMT5 (src/model/umt5.cpp), for S tokens, inner width I of the attention:
//   each layer   2 S (4 D I + 3 D F) + 4 S² I
// VAE's decoder (src/model/vae_coders.cpp): a kernel of K cells from C to C' channels is 2 K C C' operations for each
// cell that it writes. The first latent frame stays one frame at every stage.
#include "bench/arithmetic.h"

#include <algorithm>

#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/pipeline/memory_model.h"

namespace nightreel::bench {

namespace {

double real(std::int64_t number) {
  return static_cast<double>(number);
}

double cells_of_patch(const card::TransformerConfig& config) {
  return real(config.patch_size[0] * config.patch_size[1] * config.patch_size[2]);
}

/// Frames on their way through the decoder's layers.
class DecoderWalk {
 public:
  explicit DecoderWalk(const std::array<std::int64_t, 3>& latents)
      : frames_(real(latents[0])), cells_(real(latents[1] * latents[2])) {}

  void convolve(double kernel, std::int64_t in, std::int64_t out) { add(frames_, kernel, in, out); }
  void residual(std::int64_t in, std::int64_t out) {
    convolve(27, in, out);
    convolve(27, out, out);
    if (in != out) convolve(1, in, out);
  }
  /// Each frame's cells look at each other.
  void attention(std::int64_t channels) {
    convolve(1, channels, 3 * channels);
    convolve(1, channels, channels);
    operations_ += frames_ * 4 * cells_ * cells_ * real(channels);
  }
  void upsample(std::int64_t in, std::int64_t out, bool in_time) {
    if (in_time) {
      add(frames_ - 1, 3, in, 2 * in);
      frames_ = 1 + 2 * (frames_ - 1);
    }
    cells_ *= 4;
    convolve(9, in, out);
  }
  double operations() const { return operations_; }

 private:
  void add(double frames, double kernel, std::int64_t in, std::int64_t out) {
    operations_ += frames * cells_ * 2 * kernel * real(in) * real(out);
  }

  double frames_;
  double cells_;  // of a frame
  double operations_ = 0;
};

double whole_decode(const card::VaeConfig& config, const std::array<std::int64_t, 3>& latents) {
  DecoderWalk walk(latents);
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.decoder_base_dim * config.dim_mult.back();
  walk.convolve(1, config.z_dim, config.z_dim);
  walk.convolve(27, config.z_dim, width);
  walk.residual(width, width);
  walk.attention(width);
  walk.residual(width, width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::int64_t out = config.decoder_base_dim * config.dim_mult[stages - 1 - i];
    for (std::int64_t j = 0; j <= config.num_res_blocks; ++j) walk.residual(j == 0 ? width : out, out);
    width = out;
    if (i + 1 == stages) break;
    if (!config.is_residual) width = out / 2;
    walk.upsample(out, width, config.temperal_downsample[stages - 2 - i]);
  }
  walk.convolve(27, width, config.cell_channels());
  return walk.operations();
}

}  // namespace

std::int64_t tokens_of(const card::TransformerConfig& config, const std::array<std::int64_t, 3>& latents) {
  std::int64_t tokens = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) tokens *= latents[axis] / config.patch_size[axis];
  return tokens;
}

std::optional<double> pass_operations(const card::TransformerConfig& config, std::int64_t tokens) {
  if (config.image_dim > 0) return std::nullopt;
  const double s = real(tokens);
  const double t = real(card::kTextLen);
  const double d = real(config.width());
  const double block =
      2 * s * (6 * d * d + 2 * d * real(config.ffn_dim)) + 4 * s * s * d + 4 * t * d * d + 4 * s * t * d;
  const double patches = 2 * s * d * cells_of_patch(config) * real(config.in_channels + config.out_channels);
  const double text = 2 * t * (real(config.text_dim) * d + d * d);
  const double time = 2 * (real(config.freq_dim) * d + 7 * d * d);
  return real(config.num_layers) * block + patches + text + time;
}

double text_operations(const card::Umt5Config& config, std::int64_t tokens) {
  const double s = real(tokens);
  const double d = real(config.d_model);
  const double inner = real(config.num_heads * config.d_kv);
  return real(config.num_layers) * (2 * s * (4 * d * inner + 3 * d * real(config.d_ff)) + 4 * s * s * inner);
}

double decode_operations(const card::VaeConfig& config, const std::array<std::int64_t, 3>& latents, bool tiled) {
  if (!tiled) return whole_decode(config, latents);
  const model::Tiling tiling;
  const std::int64_t scale = config.scale_factor_spatial;
  const auto [frames, rows, columns] = latents;
  if (rows * scale <= tiling.height && columns * scale <= tiling.width) return whole_decode(config, latents);
  double operations = 0;
  for (std::int64_t y = 0; y < rows; y += tiling.stride_height / scale) {
    for (std::int64_t x = 0; x < columns; x += tiling.stride_width / scale) {
      operations += whole_decode(
          config, {frames, std::min(tiling.height / scale, rows - y), std::min(tiling.width / scale, columns - x)});
    }
  }
  return operations;
}

}  // namespace nightreel::bench

// B batch, C channels, T frames, Y rows, X columns of latents; F frames, H rows, W columns of pixels.
#include "nightreel/model/vae.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "model/sizes_text.h"
#include "model/vae_coders.h"
#include "model/vae_tiling.h"
#include "nightreel/base/error.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;
using memory::kFramesAPiece;

[[noreturn]] void refuse_size(const std::string& what, const at::Tensor& x, const std::string& why) {
  throw Error(ErrorKind::job, "vae: " + what + " of " + sizes_text(x.sizes()) + " " + why);
}

void check_latents(const at::Tensor& latents, const card::VaeConfig& config) {
  if (latents.dim() != 5 || latents.size(1) != config.z_dim || latents.numel() == 0) {
    refuse_size("latents", latents,
                "are not batch, " + std::to_string(config.z_dim) + " channels, frames, rows, columns");
  }
}

void check_pixels(const at::Tensor& pixels, const card::VaeConfig& config) {
  const std::int64_t side = config.scale_factor_spatial;
  const bool fits = pixels.dim() == 5 && pixels.size(1) == 3 && pixels.numel() > 0 &&
                    pixels.size(2) % kFramesAPiece == 1 && pixels.size(3) % side == 0 && pixels.size(4) % side == 0;
  if (fits) return;
  refuse_size("pixels", pixels,
              "are not batch, 3 channels, 4n+1 frames, rows and columns that are multiples of " + std::to_string(side));
}

/// [1, C, T, Y, X] to and from the layers' [T, Y, X, C].
at::Tensor channels_last(const at::Tensor& x_1CTYX) {
  return x_1CTYX.squeeze(0).permute({1, 2, 3, 0}).contiguous();
}
at::Tensor channels_first(const at::Tensor& x_TYXC) {
  return x_TYXC.permute({3, 0, 1, 2}).unsqueeze(0);
}

/// Pixels [1, 3, F, H, W] as the encoder takes them.
at::Tensor cells_of(const at::Tensor& pixels_13FHW, std::int64_t patch) {
  return to_cells(channels_last(pixels_13FHW), patch).contiguous();
}

/// A picture's height or width, to be coded in tiles: its latents, a tile and its stride in cells.
struct Side {
  const char* name;
  std::int64_t latents;
  std::int64_t tile;
  std::int64_t stride;
};

/// A tile and its stride in latents and in cells, in the direction of the coding.
TiledAxis tiled_axis(const Side& side, std::int64_t scale, bool decode) {
  const auto& [name, latent_size, tile, stride] = side;
  if (stride < 1 || tile < stride || tile % scale != 0 || stride % scale != 0) {
    throw Error(ErrorKind::job, std::string("vae: tile ") + name + " " + std::to_string(tile) + " with stride " +
                                    std::to_string(stride) + ": both must be multiples of " + std::to_string(scale) +
                                    ", the stride no larger than the tile");
  }
  TiledAxis axis{latent_size, tile / scale, stride / scale, latent_size * scale, tile, stride};
  if (!decode) {
    std::swap(axis.from_size, axis.to_size);
    std::swap(axis.from_tile, axis.to_tile);
    std::swap(axis.from_stride, axis.to_stride);
  }
  return axis;
}

/// A part of a picture [T, Y, X, C], cut at its edges.
at::Tensor crop(const at::Tensor& x_TYXC, std::int64_t y, std::int64_t rows, std::int64_t x, std::int64_t columns) {
  return x_TYXC.slice(1, y, std::min(y + rows, x_TYXC.size(1)))
      .slice(2, x, std::min(x + columns, x_TYXC.size(2)))
      .contiguous();
}

void paste(const at::Tensor& piece_TYXC, at::Tensor& canvas_TYXC, std::int64_t y, std::int64_t x) {
  canvas_TYXC.narrow(1, y, piece_TYXC.size(1)).narrow(2, x, piece_TYXC.size(2)).copy_(piece_TYXC);
}

/// All pieces of one video, of one tile of it, or of this rank's band.
template <class Code>
at::Tensor code_all(const at::Tensor& x_TYXC, std::int64_t frames_a_piece, const Code& code, const Bands& bands = {}) {
  FrameMemory memory(bands);
  std::vector<at::Tensor> pieces{code(x_TYXC.slice(0, 0, 1), memory)};
  for (std::int64_t t = 1; t < x_TYXC.size(0); t += frames_a_piece) {
    pieces.push_back(code(x_TYXC.slice(0, t, t + frames_a_piece), memory));
  }
  return at::cat(pieces);
}

}  // namespace

at::Tensor to_bytes(const at::Tensor& pixels) {
  return (pixels.to(at::kFloat) / 2).add_(0.5).clamp_(0, 1).mul_(255).round_().to(at::kByte);
}

Vae Vae::load(const std::string& folder, at::Device device, at::ScalarType dtype) {
  return load(card::read_vae_config(folder), weights::WeightMap::open(folder), device, dtype);
}

Vae Vae::load(const card::VaeConfig& config, weights::WeightMap weights, at::Device device, at::ScalarType dtype) {
  const c10::InferenceMode inference;
  Vae vae(config, device, dtype);
  load_all(vae.parameters(), weights, device);
  return vae;
}

Vae::Vae(const card::VaeConfig& config, at::Device device, at::ScalarType dtype)
    : config_(config), device_(device), dtype_(dtype) {
  const c10::InferenceMode inference;
  const at::Tensor std_C = at::tensor(config.latents_std, at::kDouble).to(at::kFloat);
  parts_ = std::make_unique<Parts>(Parts{VaeDecoder(config), VaeEncoder(config),
                                         at::tensor(config.latents_mean, at::kDouble).to(at::kFloat).to(device),
                                         std_C.reciprocal().to(device)});
}

std::vector<Parameter> Vae::parameters() {
  ParameterList list(dtype_);
  list.as_stored(true);  // it computes in float32 whatever else does
  parts_->decoder.parameters(list);
  parts_->encoder.parameters(list);
  return list.take();
}

void Vae::each_weight(const WeightVisitor& visit) {
  for (const Parameter& parameter : parameters()) each_tensor(parameter, visit);
  visit(parts_->mean_C);
  visit(parts_->inverse_std_C);
}

Vae::Vae(Vae&&) noexcept = default;
Vae& Vae::operator=(Vae&&) noexcept = default;
Vae::~Vae() = default;

void Vae::decode(const at::Tensor& latents_1CTYX, const PixelSink& sink, comm::Communicator* group) const {
  const c10::InferenceMode inference;
  check_latents(latents_1CTYX, config_);
  const at::Tensor z_TYXC = parts_->denormalise(channels_last(latents_1CTYX.to(device_, at::kFloat))).to(dtype_);
  FrameMemory memory(Bands(group, z_TYXC.size(1)));
  for (std::int64_t t = 0; t < z_TYXC.size(0); ++t) {
    const at::Tensor band_1YXC = memory.bands().take(z_TYXC.slice(0, t, t + 1));
    const at::Tensor cells_TYXC = memory.bands().gather(parts_->decoder.decode_next(band_1YXC, memory));
    sink(channels_first(from_cells(cells_TYXC.clamp_(-1, 1), config_.patch_size)));
  }
}

at::Tensor Vae::decode(const at::Tensor& latents_BCTYX) const {
  const c10::InferenceMode inference;
  check_latents(latents_BCTYX, config_);
  std::vector<at::Tensor> videos;
  for (const at::Tensor& latents_1CTYX : latents_BCTYX.split(1)) {
    std::vector<at::Tensor> pieces;
    decode(latents_1CTYX, [&](const at::Tensor& pixels_13FHW) { pieces.push_back(pixels_13FHW); });
    videos.push_back(at::cat(pieces, 2));
  }
  return at::cat(videos);
}

at::Tensor Vae::decode_tiled(const at::Tensor& latents_1CTYX, const Tiling& tiling, at::ScalarType keep) const {
  const c10::InferenceMode inference;
  check_latents(latents_1CTYX, config_);
  const std::int64_t patch = config_.patch_size;
  const std::int64_t scale = config_.cells_a_latent();
  const TiledAxis rows = tiled_axis(
      {"height", latents_1CTYX.size(3), tiling.height / patch, tiling.stride_height / patch}, scale, /*decode=*/true);
  const TiledAxis columns = tiled_axis(
      {"width", latents_1CTYX.size(4), tiling.width / patch, tiling.stride_width / patch}, scale, /*decode=*/true);
  const auto finish = [&](const at::Tensor& pixels) { return keep == at::kByte ? to_bytes(pixels) : pixels; };
  if (rows.from_size <= rows.from_tile && columns.from_size <= columns.from_tile) {
    return finish(decode(latents_1CTYX).to(at::kCPU, at::kFloat));
  }
  const at::Tensor z_TYXC = parts_->denormalise(channels_last(latents_1CTYX.to(device_, at::kFloat))).to(dtype_);
  const std::int64_t frames = 1 + (z_TYXC.size(0) - 1) * kFramesAPiece;
  at::Tensor canvas_FHW3 =
      at::empty({frames, rows.to_size * patch, columns.to_size * patch, 3}, at::TensorOptions(keep));
  const auto code = [&](const at::Tensor& latent_1YXC, FrameMemory& memory) {
    return parts_->decoder.decode_next(latent_1YXC, memory).to(at::kCPU, at::kFloat);
  };
  code_in_tiles(
      rows, columns,
      [&](std::int64_t y, std::int64_t x) {
        return code_all(crop(z_TYXC, y, rows.from_tile, x, columns.from_tile), 1, code);
      },
      [&](const at::Tensor& piece, std::int64_t y, std::int64_t x) {
        paste(from_cells(finish(piece.clamp(-1, 1)), patch), canvas_FHW3, y * patch, x * patch);
      });
  return channels_first(canvas_FHW3);
}

at::Tensor Vae::encode(const at::Tensor& pixels_B3FHW, comm::Communicator* group) const {
  const c10::InferenceMode inference;
  check_pixels(pixels_B3FHW, config_);
  const auto code = [&](const at::Tensor& piece_TYXC, FrameMemory& memory) {
    return parts_->encoder.encode_next(piece_TYXC, memory);
  };
  const Bands bands(group, pixels_B3FHW.size(3) / config_.scale_factor_spatial);
  std::vector<at::Tensor> latents;
  for (const at::Tensor& pixels_13FHW : pixels_B3FHW.to(device_, dtype_).split(1)) {
    const at::Tensor band_TYXC = bands.take(cells_of(pixels_13FHW, config_.patch_size));
    latents.push_back(latents_of(bands.gather(code_all(band_TYXC, kFramesAPiece, code, bands))));
  }
  return at::cat(latents);
}

at::Tensor Vae::encode_tiled(const at::Tensor& pixels_13FHW, const Tiling& tiling) const {
  const c10::InferenceMode inference;
  check_pixels(pixels_13FHW, config_);
  const at::Tensor x_TYXC = cells_of(pixels_13FHW.to(device_, dtype_), config_.patch_size);
  const std::int64_t scale = config_.cells_a_latent();
  const TiledAxis rows = tiled_axis({"height", x_TYXC.size(1) / scale, tiling.height, tiling.stride_height}, scale,
                                    /*decode=*/false);
  const TiledAxis columns = tiled_axis({"width", x_TYXC.size(2) / scale, tiling.width, tiling.stride_width}, scale,
                                       /*decode=*/false);
  if (rows.from_size <= rows.from_tile && columns.from_size <= columns.from_tile) return encode(pixels_13FHW);
  const std::int64_t frames = 1 + (x_TYXC.size(0) - 1) / kFramesAPiece;
  at::Tensor moments_TYXC = at::empty({frames, rows.to_size, columns.to_size, 2 * config_.z_dim}, at::kFloat);
  const auto code = [&](const at::Tensor& piece_TYXC, FrameMemory& memory) {
    return parts_->encoder.encode_next(piece_TYXC, memory).to(at::kCPU, at::kFloat);
  };
  code_in_tiles(
      rows, columns,
      [&](std::int64_t y, std::int64_t x) {
        return code_all(crop(x_TYXC, y, rows.from_tile, x, columns.from_tile), kFramesAPiece, code);
      },
      [&](const at::Tensor& piece, std::int64_t y, std::int64_t x) { paste(piece, moments_TYXC, y, x); });
  return latents_of(moments_TYXC);
}

at::Tensor Vae::latents_of(const at::Tensor& moments_TYXC) const {
  const at::Tensor mean_TYXC = moments_TYXC.slice(3, 0, config_.z_dim).to(device_, at::kFloat);
  return channels_first(parts_->normalise(mean_TYXC)).to(dtype_);
}

}  // namespace nightreel::model

// The Wan 2.1 and 2.2 video autoencoders: latents to pixels and back, frame by frame through time.
//
// Owns its weights, on one device in one dtype. Const calls: the causal convolutions' memory of earlier frames lives
// in the call, so any thread. Latents are normalised, as the transformer sees them: the checkpoint's latents_mean and
// latents_std are applied here. Settings and weights that this program does not have throw base::Error{model} that
// names the file, sizes that do not fit base::Error{job}. The arithmetic is that of diffusers 0.42.1, AutoencoderKLWan
// (models/autoencoders/autoencoder_kl_wan.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/memory/sizes.h"
#include "nightreel/model/parameter.h"
#include "nightreel/weights/weights.h"

namespace nightreel::comm {
class Communicator;
}

namespace nightreel::model {

/// Sizes of the overlapping pieces of a picture in which large frames are coded one after the other, in pixels.
/// Neighbours are blended over size - stride pixels. Defaults are diffusers'. As in diffusers, encoding with a patch
/// size counts cells, not pixels.
struct Tiling {
  std::int64_t height = memory::kTileSide;
  std::int64_t width = memory::kTileSide;
  std::int64_t stride_height = memory::kTileStride;
  std::int64_t stride_width = memory::kTileStride;
};

/// Pixels in [-1, 1] as bytes: round(clamp(x / 2 + 0.5, 0, 1) * 255).
at::Tensor to_bytes(const at::Tensor& pixels);

class Vae {
 public:
  /// Loads vae/ of a checkpoint, FOLDER/vae.
  static Vae load(const std::string& folder, at::Device device, at::ScalarType dtype);
  /// The same where the configuration has been read, and the tensors are known.
  static Vae load(const card::VaeConfig& config, weights::WeightMap weights, at::Device device, at::ScalarType dtype);
  /// Without its numbers: it says which tensors it is made of, and computes when load_parameters() has put them in
  /// their places.
  Vae(const card::VaeConfig& config, at::Device device, at::ScalarType dtype);
  Vae(Vae&&) noexcept;
  Vae& operator=(Vae&&) noexcept;
  ~Vae();

  const card::VaeConfig& config() const { return config_; }

  /// Every weight, with its Diffusers names.
  std::vector<Parameter> parameters();
  /// Shows every weight, and the statistics of latents; see WeightVisitor.
  void each_weight(const WeightVisitor& visit);

  /// Receives the video piece by piece, in order: pixels [1, 3, frames, height, width] in [-1, 1].
  using PixelSink = std::function<void(const at::Tensor& pixels_13FHW)>;

  /// Latents [1, C, T, Y, X], any dtype and device, to 1 + 4 * (T - 1) frames: one for the first latent frame, four for
  /// each one after it. No more than these are held. Pieces have the model's dtype and device. With `group` (null:
  /// alone) all its ranks make the same call, each codes a band of rows, and each receives the whole pieces.
  void decode(const at::Tensor& latents_1CTYX, const PixelSink& sink, comm::Communicator* group = nullptr) const;

  /// The same for a batch, whole: [B, 3, F, H, W] in the model's dtype.
  at::Tensor decode(const at::Tensor& latents_BCTYX) const;

  /// As diffusers does after enable_tiling(): each tile through all of time by itself, then blended. Needs the memory
  /// of one tile's decoding, and on the CPU that of the whole video [1, 3, F, H, W] in the form that `keep` says:
  /// kFloat for pixels in [-1, 1], kByte for to_bytes() of them. Frames no larger than a tile are decoded whole.
  at::Tensor decode_tiled(const at::Tensor& latents_1CTYX, const Tiling& tiling, at::ScalarType keep) const;

  /// Pixels [B, 3, 1 + 4 * n, H, W] in [-1, 1], H and W multiples of scale_factor_spatial, to the mean of the
  /// posterior, normalised: [B, z_dim, 1 + n, Y, X] in the model's dtype. `group` as for decode().
  at::Tensor encode(const at::Tensor& pixels_B3FHW, comm::Communicator* group = nullptr) const;

  /// The same by tiles for one video [1, 3, F, H, W], as diffusers does after enable_tiling().
  at::Tensor encode_tiled(const at::Tensor& pixels_13FHW, const Tiling& tiling) const;

 private:
  struct Parts;
  at::Tensor latents_of(const at::Tensor& moments_TYXC) const;

  card::VaeConfig config_;
  at::Device device_;
  at::ScalarType dtype_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace nightreel::model

// Encoder and decoder of the Wan 2.1 and 2.2 VAEs, for one video at a time, frame by frame. Frames are [T, Y, X, C];
// pixels are cells of config.patch_size pixels each way (see to_cells).
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "model/vae_layers.h"
#include "nightreel/model/vae.h"

namespace nightreel::model {

class VaeDecoder {
 public:
  explicit VaeDecoder(const card::VaeConfig& config);

  /// One latent frame [1, Y, X, z_dim], not normalised, to one frame of pixels if it is the video's first, else to
  /// four.
  at::Tensor decode_next(const at::Tensor& latent_1YXC, FrameMemory& memory) const;

  void parameters(ParameterList& list);

 private:
  struct UpBlock {
    std::vector<ResidualBlock> resnets;
    std::optional<Upsample> upsample;
    std::optional<RepeatUp> shortcut;
    at::Tensor operator()(at::Tensor x_TYXC, FrameMemory& memory) const;
    void parameters(ParameterList& list, const std::string& name);
  };
  Linear post_quant_;
  CausalConv conv_in_;
  MidBlock mid_;
  std::vector<UpBlock> blocks_;
  ChannelNorm norm_out_;
  CausalConv conv_out_;
};

class VaeEncoder {
 public:
  explicit VaeEncoder(const card::VaeConfig& config);

  /// The video's first frame [1, H, W, C], then four at a time, to one latent frame each: [1, Y, X, 2 * z_dim], mean
  /// and logarithm of the variance, not normalised.
  at::Tensor encode_next(const at::Tensor& cells_TYXC, FrameMemory& memory) const;

  void parameters(ParameterList& list);

 private:
  void add_stage(const card::VaeConfig& config, std::size_t stage, std::int64_t in, std::int64_t out);
  void add_residual_stage(const card::VaeConfig& config, std::size_t stage, std::int64_t in, std::int64_t out);

  CausalConv conv_in_;
  std::vector<std::variant<ResidualBlock, Downsample, ResidualDown>> blocks_;
  MidBlock mid_;
  ChannelNorm norm_out_;
  CausalConv conv_out_;
  Linear quant_;
};

struct Vae::Parts {
  VaeDecoder decoder;
  VaeEncoder encoder;
  at::Tensor mean_C;         // float32, the model's device
  at::Tensor inverse_std_C;  // likewise

  /// Latents [T, Y, X, C] in float32 from and to what the transformer sees.
  at::Tensor denormalise(const at::Tensor& x_TYXC) const;
  at::Tensor normalise(const at::Tensor& x_TYXC) const;
};

}  // namespace nightreel::model

#include "model/vae_coders.h"

#include <ATen/ATen.h>

namespace nightreel::model {

namespace {

std::string numbered(const std::string& name, std::size_t i) {
  return name + "." + std::to_string(i);
}

}  // namespace

VaeDecoder::VaeDecoder(const VaeConfig& config, const VaeLoader& load)
    : post_quant_(Pointwise::load(load, "post_quant_conv", config.z_dim, config.z_dim, 3)) {
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.decoder_base_dim * config.dim_mult.back();
  conv_in_ = CausalConv::load(load, "decoder.conv_in", config.z_dim, width);
  mid_ = MidBlock::load(load, "decoder.mid_block", width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::string name = numbered("decoder.up_blocks", i);
    const std::int64_t out = config.decoder_base_dim * config.dim_mult[stages - 1 - i];
    UpBlock block;
    for (std::int64_t j = 0; j <= config.num_res_blocks; ++j) {
      block.resnets.push_back(
          ResidualBlock::load(load, numbered(name + ".resnets", static_cast<std::size_t>(j)), width, out));
      width = out;
    }
    if (i + 1 < stages) {  // the stages of the encoder, backwards
      block.upsample = Upsample::load(load, name + ".upsamplers.0", width, config.temperal_downsample[stages - 2 - i]);
      width /= 2;
    }
    blocks_.push_back(std::move(block));
  }
  norm_out_ = ChannelNorm::load(load, "decoder.norm_out", width, 3);
  conv_out_ = CausalConv::load(load, "decoder.conv_out", width, 3);
}

at::Tensor VaeDecoder::decode_next(const at::Tensor& latent_1YXC, FrameMemory& memory) const {
  at::Tensor x_TYXC = mid_(conv_in_(post_quant_(latent_1YXC), memory), memory);
  for (const UpBlock& block : blocks_) {
    for (const ResidualBlock& resnet : block.resnets) x_TYXC = resnet(x_TYXC, memory);
    if (block.upsample) x_TYXC = (*block.upsample)(x_TYXC, memory);
  }
  x_TYXC = conv_out_(x_TYXC, norm_out_, memory);
  memory.end_piece();
  return x_TYXC;
}

VaeEncoder::VaeEncoder(const VaeConfig& config, const VaeLoader& load) {
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.base_dim;
  conv_in_ = CausalConv::load(load, "encoder.conv_in", 3, width);
  const auto next_name = [&] { return numbered("encoder.down_blocks", blocks_.size()); };
  for (std::size_t i = 0; i < stages; ++i) {
    const std::int64_t out = config.base_dim * config.dim_mult[i];
    for (std::int64_t j = 0; j < config.num_res_blocks; ++j) {
      blocks_.emplace_back(ResidualBlock::load(load, next_name(), width, out));
      width = out;
    }
    if (i + 1 < stages) {
      blocks_.emplace_back(Downsample::load(load, next_name(), width, config.temperal_downsample[i]));
    }
  }
  mid_ = MidBlock::load(load, "encoder.mid_block", width);
  norm_out_ = ChannelNorm::load(load, "encoder.norm_out", width, 3);
  conv_out_ = CausalConv::load(load, "encoder.conv_out", width, 2 * config.z_dim);
  quant_ = Pointwise::load(load, "quant_conv", 2 * config.z_dim, 2 * config.z_dim, 3);
}

at::Tensor VaeEncoder::encode_next(const at::Tensor& pixels_FHW3, FrameMemory& memory) const {
  at::Tensor x_TYXC = conv_in_(pixels_FHW3, memory);
  for (const auto& block : blocks_) {
    x_TYXC = std::visit([&](const auto& layer) { return layer(x_TYXC, memory); }, block);
  }
  x_TYXC = conv_out_(mid_(x_TYXC, memory), norm_out_, memory);
  memory.end_piece();
  return quant_(x_TYXC);
}

at::Tensor Vae::Parts::denormalise(const at::Tensor& x_TYXC) const {
  return x_TYXC / inverse_std_C + mean_C;
}

at::Tensor Vae::Parts::normalise(const at::Tensor& x_TYXC) const {
  return (x_TYXC - mean_C) * inverse_std_C;
}

}  // namespace nightreel::model

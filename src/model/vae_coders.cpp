#include "model/vae_coders.h"

#include <ATen/ATen.h>

namespace nightreel::model {

namespace {

std::string numbered(const std::string& name, std::size_t i) {
  return name + "." + std::to_string(i);
}

std::vector<ResidualBlock> resnets(std::int64_t count, std::int64_t in, std::int64_t out) {
  std::vector<ResidualBlock> blocks;
  for (std::int64_t i = 0; i < count; ++i) blocks.emplace_back(i == 0 ? in : out, out);
  return blocks;
}

}  // namespace

VaeDecoder::VaeDecoder(const card::VaeConfig& config) {
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.decoder_base_dim * config.dim_mult.back();
  conv_in_ = CausalConv(config.z_dim, width);
  mid_ = MidBlock(width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::int64_t out = config.decoder_base_dim * config.dim_mult[stages - 1 - i];
    UpBlock block{resnets(config.num_res_blocks + 1, width, out), std::nullopt, std::nullopt};
    width = out;
    if (i + 1 < stages) {  // the stages of the encoder, backwards
      const bool in_time = config.temperal_downsample[stages - 2 - i];
      if (config.is_residual) {
        block.shortcut = RepeatUp{out, in_time};
      } else {
        width = out / 2;
      }
      block.upsample = Upsample(out, width, in_time);
    }
    blocks_.push_back(std::move(block));
  }
  norm_out_ = ChannelNorm{width, 3, {}};
  conv_out_ = CausalConv(width, config.cell_channels());
}

at::Tensor VaeDecoder::UpBlock::operator()(at::Tensor x_TYXC, FrameMemory& memory) const {
  const at::Tensor before_TYXC = x_TYXC;
  for (const ResidualBlock& resnet : resnets) x_TYXC = resnet(x_TYXC, memory);
  if (upsample) x_TYXC = (*upsample)(x_TYXC, memory);
  if (shortcut) x_TYXC.add_((*shortcut)(before_TYXC, memory));
  return x_TYXC;
}

void VaeDecoder::UpBlock::parameters(ParameterList& list, const std::string& name) {
  for (std::size_t i = 0; i < resnets.size(); ++i) resnets[i].parameters(list, numbered(name + ".resnets", i));
  if (upsample) upsample->parameters(list, name + (shortcut ? ".upsampler" : ".upsamplers.0"));
}

void VaeDecoder::parameters(ParameterList& list) {
  const std::int64_t channels = conv_in_.conv.shape[1];
  list.convolution(post_quant_, "post_quant_conv", {channels, channels, 1, 1, 1});
  conv_in_.parameters(list, "decoder.conv_in");
  mid_.parameters(list, "decoder.mid_block");
  for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i].parameters(list, numbered("decoder.up_blocks", i));
  norm_out_.parameters(list, "decoder.norm_out");
  conv_out_.parameters(list, "decoder.conv_out");
}

at::Tensor VaeDecoder::decode_next(const at::Tensor& latent_1YXC, FrameMemory& memory) const {
  at::Tensor x_TYXC = mid_(conv_in_(post_quant_(latent_1YXC), memory), memory);
  for (const UpBlock& block : blocks_) x_TYXC = block(std::move(x_TYXC), memory);
  x_TYXC = conv_out_(x_TYXC, norm_out_, memory);
  memory.end_piece();
  return x_TYXC;
}

VaeEncoder::VaeEncoder(const card::VaeConfig& config) {
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.base_dim;
  conv_in_ = CausalConv(config.cell_channels(), width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::int64_t out = config.base_dim * config.dim_mult[i];
    if (config.is_residual) {
      add_residual_stage(config, i, width, out);
    } else {
      add_stage(config, i, width, out);
    }
    width = out;
  }
  mid_ = MidBlock(width);
  norm_out_ = ChannelNorm{width, 3, {}};
  conv_out_ = CausalConv(width, 2 * config.z_dim);
}

void VaeEncoder::add_stage(const card::VaeConfig& config, std::size_t stage, std::int64_t in, std::int64_t out) {
  for (ResidualBlock& block : resnets(config.num_res_blocks, in, out)) blocks_.emplace_back(std::move(block));
  if (stage + 1 == config.dim_mult.size()) return;
  blocks_.emplace_back(Downsample(out, config.temperal_downsample[stage]));
}

void VaeEncoder::add_residual_stage(const card::VaeConfig& config, std::size_t stage, std::int64_t in,
                                    std::int64_t out) {
  const bool last = stage + 1 == config.dim_mult.size();
  const bool in_time = !last && config.temperal_downsample[stage];
  ResidualDown block{resnets(config.num_res_blocks, in, out), std::nullopt, {out, !last, in_time}};
  if (!last) block.down = Downsample(out, in_time);
  blocks_.emplace_back(std::move(block));
}

void VaeEncoder::parameters(ParameterList& list) {
  conv_in_.parameters(list, "encoder.conv_in");
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    std::visit([&](auto& layer) { layer.parameters(list, numbered("encoder.down_blocks", i)); }, blocks_[i]);
  }
  mid_.parameters(list, "encoder.mid_block");
  norm_out_.parameters(list, "encoder.norm_out");
  conv_out_.parameters(list, "encoder.conv_out");
  const std::int64_t channels = conv_out_.conv.shape[0];
  list.convolution(quant_, "quant_conv", {channels, channels, 1, 1, 1});
}

at::Tensor VaeEncoder::encode_next(const at::Tensor& cells_TYXC, FrameMemory& memory) const {
  at::Tensor x_TYXC = conv_in_(cells_TYXC, memory);
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

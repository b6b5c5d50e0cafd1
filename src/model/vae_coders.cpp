#include "model/vae_coders.h"

#include <ATen/ATen.h>

namespace nightreel::model {

namespace {

std::string numbered(const std::string& name, std::size_t i) {
  return name + "." + std::to_string(i);
}

std::vector<ResidualBlock> resnets(const VaeLoader& load, const std::string& stage, std::int64_t count, std::int64_t in,
                                   std::int64_t out) {
  std::vector<ResidualBlock> blocks;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string name = numbered(stage + ".resnets", static_cast<std::size_t>(i));
    blocks.push_back(ResidualBlock::load(load, name, i == 0 ? in : out, out));
  }
  return blocks;
}

}  // namespace

VaeDecoder::VaeDecoder(const card::VaeConfig& config, const VaeLoader& load)
    : post_quant_(Pointwise::load(load, "post_quant_conv", config.z_dim, config.z_dim, 3)) {
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.decoder_base_dim * config.dim_mult.back();
  conv_in_ = CausalConv::load(load, "decoder.conv_in", config.z_dim, width);
  mid_ = MidBlock::load(load, "decoder.mid_block", width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::string name = numbered("decoder.up_blocks", i);
    const std::int64_t out = config.decoder_base_dim * config.dim_mult[stages - 1 - i];
    UpBlock block{resnets(load, name, config.num_res_blocks + 1, width, out), std::nullopt, std::nullopt};
    width = out;
    if (i + 1 < stages) {  // the stages of the encoder, backwards
      const bool in_time = config.temperal_downsample[stages - 2 - i];
      if (config.is_residual) {
        block.shortcut = RepeatUp{out, in_time};
      } else {
        width = out / 2;
      }
      const std::string upsampler = config.is_residual ? ".upsampler" : ".upsamplers.0";
      block.upsample = Upsample::load(load, name + upsampler, out, width, in_time);
    }
    blocks_.push_back(std::move(block));
  }
  norm_out_ = ChannelNorm::load(load, "decoder.norm_out", width, 3);
  conv_out_ = CausalConv::load(load, "decoder.conv_out", width, config.cell_channels());
}

at::Tensor VaeDecoder::UpBlock::operator()(at::Tensor x_TYXC, FrameMemory& memory) const {
  const at::Tensor before_TYXC = x_TYXC;
  for (const ResidualBlock& resnet : resnets) x_TYXC = resnet(x_TYXC, memory);
  if (upsample) x_TYXC = (*upsample)(x_TYXC, memory);
  if (shortcut) x_TYXC.add_((*shortcut)(before_TYXC, memory));
  return x_TYXC;
}

void VaeDecoder::UpBlock::each_weight(const WeightVisitor& visit) {
  for (ResidualBlock& resnet : resnets) resnet.each_weight(visit);
  if (upsample) upsample->each_weight(visit);
}

void VaeDecoder::each_weight(const WeightVisitor& visit) {
  post_quant_.each_weight(visit);
  conv_in_.each_weight(visit);
  mid_.each_weight(visit);
  for (UpBlock& block : blocks_) block.each_weight(visit);
  norm_out_.each_weight(visit);
  conv_out_.each_weight(visit);
}

at::Tensor VaeDecoder::decode_next(const at::Tensor& latent_1YXC, FrameMemory& memory) const {
  at::Tensor x_TYXC = mid_(conv_in_(post_quant_(latent_1YXC), memory), memory);
  for (const UpBlock& block : blocks_) x_TYXC = block(std::move(x_TYXC), memory);
  x_TYXC = conv_out_(x_TYXC, norm_out_, memory);
  memory.end_piece();
  return x_TYXC;
}

VaeEncoder::VaeEncoder(const card::VaeConfig& config, const VaeLoader& load) {
  const std::size_t stages = config.dim_mult.size();
  std::int64_t width = config.base_dim;
  conv_in_ = CausalConv::load(load, "encoder.conv_in", config.cell_channels(), width);
  for (std::size_t i = 0; i < stages; ++i) {
    const std::int64_t out = config.base_dim * config.dim_mult[i];
    if (config.is_residual) {
      add_residual_stage(config, load, i, width, out);
    } else {
      add_stage(config, load, i, width, out);
    }
    width = out;
  }
  mid_ = MidBlock::load(load, "encoder.mid_block", width);
  norm_out_ = ChannelNorm::load(load, "encoder.norm_out", width, 3);
  conv_out_ = CausalConv::load(load, "encoder.conv_out", width, 2 * config.z_dim);
  quant_ = Pointwise::load(load, "quant_conv", 2 * config.z_dim, 2 * config.z_dim, 3);
}

void VaeEncoder::add_stage(const card::VaeConfig& config, const VaeLoader& load, std::size_t stage, std::int64_t in,
                           std::int64_t out) {
  const auto next_name = [&] { return numbered("encoder.down_blocks", blocks_.size()); };
  for (std::int64_t j = 0; j < config.num_res_blocks; ++j) {
    blocks_.emplace_back(ResidualBlock::load(load, next_name(), j == 0 ? in : out, out));
  }
  if (stage + 1 == config.dim_mult.size()) return;
  blocks_.emplace_back(Downsample::load(load, next_name(), out, config.temperal_downsample[stage]));
}

void VaeEncoder::add_residual_stage(const card::VaeConfig& config, const VaeLoader& load, std::size_t stage,
                                    std::int64_t in, std::int64_t out) {
  const std::string name = numbered("encoder.down_blocks", stage);
  const bool last = stage + 1 == config.dim_mult.size();
  const bool in_time = !last && config.temperal_downsample[stage];
  ResidualDown block{resnets(load, name, config.num_res_blocks, in, out), std::nullopt, {out, !last, in_time}};
  if (!last) block.down = Downsample::load(load, name + ".downsampler", out, in_time);
  blocks_.emplace_back(std::move(block));
}

void VaeEncoder::each_weight(const WeightVisitor& visit) {
  conv_in_.each_weight(visit);
  for (auto& block : blocks_) {
    std::visit([&](auto& layer) { layer.each_weight(visit); }, block);
  }
  mid_.each_weight(visit);
  norm_out_.each_weight(visit);
  conv_out_.each_weight(visit);
  quant_.each_weight(visit);
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

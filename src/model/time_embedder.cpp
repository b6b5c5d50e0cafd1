// B batch, D width.
#include "nightreel/model/time_embedder.h"

#include <ATen/ATen.h>

#include <cmath>

namespace nightreel::model {

TimeEmbedder::TimeEmbedder(const card::TransformerConfig& config, at::Device device)
    : frequencies_(config.freq_dim), width_(config.width()) {
  const std::int64_t half = frequencies_ / 2;  // sines and cosines
  angle_of_step_ = at::arange(half, at::kFloat).mul_(-std::log(10000.0)).div_(half).exp_().to(device);
}

void TimeEmbedder::parameters(const std::string& name, ParameterList& list) {
  list.linear_f32(in_, name + "time_embedder.linear_1", frequencies_, width_);
  list.linear_f32(out_, name + "time_embedder.linear_2", width_, width_);
  list.linear(modulation_, name + "time_proj", width_, 6 * width_);
}

TimeEmbedding TimeEmbedder::forward(const at::Tensor& timestep_B, std::int64_t tokens) const {
  const at::Tensor angles = timestep_B.to(angle_of_step_.device(), at::kFloat).unsqueeze(1) * angle_of_step_;
  const at::Tensor waves = at::cat({angles.cos(), angles.sin()}, -1);
  const at::Tensor embedding_BD = out_(at::silu(in_(waves))).to(modulation_.input_form().dtype);
  const at::Tensor modulation_B6D = modulation_(at::silu(embedding_BD)).unflatten(1, {6, -1});
  return {tokens, embedding_BD.to(at::kFloat), modulation_B6D.to(at::kFloat)};
}

}  // namespace nightreel::model

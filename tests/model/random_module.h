// Modules of the transformer with random weights, and what tests put into them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/attention.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/time_embedder.h"
#include "nightreel/ops/rotary.h"

namespace nightreel::test {

/// Two heads of 12; with `pictures` also a context of pictures.
inline card::TransformerConfig small_config(bool pictures = false) {
  card::TransformerConfig config;
  config.num_attention_heads = 2;
  config.attention_head_dim = 12;
  config.in_channels = 3;
  config.out_channels = 5;
  config.text_dim = 10;
  config.freq_dim = 8;
  config.ffn_dim = 40;
  config.num_layers = 1;
  config.image_dim = pictures ? 6 : 0;
  return config;
}

/// Of a parameter as the module holds it.
inline std::vector<std::int64_t> shape_of(const model::Parameter& parameter) {
  std::vector<std::int64_t> shape = parameter.parts[0].shape;
  for (std::size_t i = 1; i < parameter.parts.size(); ++i) shape[0] += parameter.parts[i].shape[0];
  return parameter.linear == nullptr ? shape : at::empty(shape, at::kMeta).flatten(1).sizes().vec();
}

/// The tensors of a module in the order in which it names them, filled with random numbers.
inline std::vector<at::Tensor> fill(model::ParameterList& list) {
  std::vector<at::Tensor> tensors;
  for (const model::Parameter& parameter : list.take()) {
    if (parameter.tensor == nullptr) continue;  // the module has none of it
    *parameter.tensor = at::randn(shape_of(parameter)).mul_(0.3).to(parameter.dtype);
    tensors.push_back(*parameter.tensor);
  }
  return tensors;
}

template <class Module>
std::vector<at::Tensor> fill(Module& module, const std::string& name = "", at::ScalarType dtype = at::kFloat) {
  model::ParameterList list(dtype);
  module.parameters(name, list);
  return fill(list);
}

/// All tokens of a video of this many patches, in this process alone.
inline model::Tokens tokens_of(std::array<std::int64_t, 3> grid, std::int64_t head_dim) {
  static const model::SequenceParallel alone;
  const std::int64_t tokens = grid[0] * grid[1] * grid[2];
  return {alone, alone.share(tokens), ops::rotary_table(grid, head_dim)};
}

/// The time step of `tokens` tokens as an embedder might give it.
inline model::TimeEmbedding random_time(std::int64_t tokens, std::int64_t width) {
  return {tokens, at::randn({1, width}), at::randn({1, 6, width})};
}

/// max |a - b| / max |b|.
inline double deviation(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

}  // namespace nightreel::test

// S tokens, D d_model, V vocabulary; H heads, K size of a head; R relative positions, 2 * S - 1.
#include "nightreel/model/umt5.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>

#include "nightreel/base/error.h"
#include "nightreel/ops/attention.h"
#include "nightreel/ops/norm.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;

}  // namespace

at::Tensor relative_position_buckets(std::int64_t length, std::int64_t num_buckets, std::int64_t max_distance) {
  const std::int64_t half = num_buckets / 2;
  const std::int64_t exact = half / 2;
  const at::Tensor position_R = at::arange(1 - length, length, at::kLong);
  const at::Tensor distance_R = position_R.abs();
  // In float32 and in this order, as the reference: another rounding would move positions to the next bucket.
  const at::Tensor ratio_R = (distance_R.clamp_min(exact).to(at::kFloat) / exact).log() /
                             std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) * (half - exact);
  const at::Tensor far_R = (ratio_R.to(at::kLong) + exact).clamp_max(half - 1);
  return at::where(distance_R < exact, distance_R, far_R) + (position_R > 0).to(at::kLong) * half;
}

Umt5Encoder Umt5Encoder::load(const std::string& folder, at::Device device, at::ScalarType dtype,
                              weights::TensorReader* reader) {
  return load(card::read_umt5_config(folder), weights::WeightMap::open(folder, reader), device, dtype);
}

Umt5Encoder Umt5Encoder::load(const card::Umt5Config& config, weights::WeightMap weights, at::Device device,
                              at::ScalarType dtype) {
  const c10::InferenceMode inference;
  Umt5Encoder encoder(config, device, dtype);
  load_all(encoder.parameters(), weights, device);
  return encoder;
}

Umt5Encoder::Umt5Encoder(const card::Umt5Config& config, at::Device device, at::ScalarType dtype)
    : config_(config), device_(device), dtype_(dtype), layers_(static_cast<std::size_t>(config.num_layers)) {}

std::vector<Parameter> Umt5Encoder::parameters() {
  ParameterList list(dtype_);
  list.on_host(embedding_VD_, "shared.weight", "encoder.embed_tokens.weight", {config_.vocab_size, config_.d_model});
  for (std::size_t i = 0; i < layers_.size(); ++i) add_layer(i, list);
  list.tensor(final_norm_D_, "encoder.final_layer_norm.weight", {config_.d_model});
  return list.take();
}

void Umt5Encoder::add_layer(std::size_t index, ParameterList& list) {
  const std::int64_t width = config_.d_model;
  const std::int64_t inner = config_.num_heads * config_.d_kv;
  const std::string block = "encoder.block." + std::to_string(index) + ".layer.";
  const std::string attention = block + "0.SelfAttention.";
  const std::string ffn = block + "1.DenseReluDense.";
  Layer& layer = layers_[index];
  list.tensor(layer.attention_norm_D, block + "0.layer_norm.weight", {width});
  list.matrix(layer.q, attention + "q.weight", width, inner);
  list.matrix(layer.k, attention + "k.weight", width, inner);
  list.matrix(layer.v, attention + "v.weight", width, inner);
  list.matrix(layer.o, attention + "o.weight", inner, width);
  list.tensor(layer.bias_buckets, attention + "relative_attention_bias.weight",
              {config_.relative_attention_num_buckets, config_.num_heads});
  list.tensor(layer.ffn_norm_D, block + "1.layer_norm.weight", {width});
  list.matrix(layer.ffn_gate, ffn + "wi_0.weight", width, config_.d_ff);
  list.matrix(layer.ffn_in, ffn + "wi_1.weight", width, config_.d_ff);
  list.matrix(layer.ffn_out, ffn + "wo.weight", config_.d_ff, width);
}

void Umt5Encoder::each_weight(const WeightVisitor& visit) {
  for (const Parameter& parameter : parameters()) each_tensor(parameter, visit);
}

at::Tensor Umt5Encoder::encode(const std::vector<std::int64_t>& tokens) const {
  const c10::InferenceMode inference;
  const auto outside = std::find_if(tokens.begin(), tokens.end(),
                                    [&](std::int64_t token) { return token < 0 || token >= config_.vocab_size; });
  if (outside != tokens.end()) {
    throw Error(ErrorKind::model, "text_encoder: token " + std::to_string(*outside) + " of the tokenizer is outside " +
                                      "vocab_size, " + std::to_string(config_.vocab_size));
  }
  const auto length = static_cast<std::int64_t>(tokens.size());
  const at::Tensor buckets_R =
      relative_position_buckets(length, config_.relative_attention_num_buckets, config_.relative_attention_max_distance)
          .to(device_);
  at::Tensor x_1SD = at::embedding(embedding_VD_, at::tensor(tokens, at::kLong)).unsqueeze(0).to(device_, dtype_);
  for (const Layer& layer : layers_) {
    x_1SD = x_1SD + self_attention(layer, x_1SD, buckets_R);
    x_1SD.add_(feed_forward(layer, x_1SD));
  }
  return ops::rms_norm(x_1SD, final_norm_D_, config_.layer_norm_epsilon);
}

at::Tensor Umt5Encoder::self_attention(const Layer& layer, const at::Tensor& x_1SD, const at::Tensor& buckets_R) const {
  const at::Tensor normed = ops::rms_norm(x_1SD, layer.attention_norm_D, config_.layer_norm_epsilon);
  const auto heads_1HSK = [&](const at::Tensor& weight) {
    return at::linear(normed, weight).unflatten(-1, {config_.num_heads, config_.d_kv}).transpose(1, 2);
  };
  // The bias of query i and key j is that of position j - i: rows of a sliding window, the last query's first.
  const at::Tensor bias_HR = at::embedding(layer.bias_buckets, buckets_R).t().contiguous();
  const at::Tensor bias_1HSS = bias_HR.unfold(1, x_1SD.size(1), 1).flip(1).unsqueeze(0);
  const at::Tensor mixed_1HSK =
      ops::attention({heads_1HSK(layer.q), heads_1HSK(layer.k), heads_1HSK(layer.v), bias_1HSS, /*scale=*/1.0});
  return at::linear(mixed_1HSK.transpose(1, 2).flatten(2), layer.o);
}

at::Tensor Umt5Encoder::feed_forward(const Layer& layer, const at::Tensor& x_1SD) const {
  const at::Tensor normed = ops::rms_norm(x_1SD, layer.ffn_norm_D, config_.layer_norm_epsilon);
  at::Tensor gate = at::linear(normed, layer.ffn_gate);
  at::gelu_(gate, "tanh");
  return at::linear(gate.mul_(at::linear(normed, layer.ffn_in)), layer.ffn_out);
}

}  // namespace nightreel::model

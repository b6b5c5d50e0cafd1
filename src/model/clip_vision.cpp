// N pictures, H, W their size, T tokens, D hidden_size, P elements of a patch.
#include "nightreel/model/clip_vision.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/model/weights.h"
#include "nightreel/ops/attention.h"

namespace nightreel::model {

/// Fetches the model's tensors: transformers 4 puts "vision_model." before their names.
class ClipVision::Loader {
 public:
  Loader(WeightMap& weights, at::Device device, at::ScalarType dtype)
      : weights_(weights), device_(device), dtype_(dtype) {
    if (weights.has("vision_model.embeddings.class_embedding")) prefix_ = "vision_model.";
  }
  at::Tensor tensor(const std::string& name, at::IntArrayRef shape) const {
    return weights_.take(prefix_ + name, shape).to(device_, dtype_);
  }
  Affine linear(const std::string& name, std::int64_t in, std::int64_t out) const {
    return {tensor(name + ".weight", {out, in}), tensor(name + ".bias", {out})};
  }
  Affine norm(const std::string& name, std::int64_t width) const {
    return {tensor(name + ".weight", {width}), tensor(name + ".bias", {width})};
  }
  void skip(const std::string& name) const { weights_.skip(prefix_ + name); }

 private:
  WeightMap& weights_;
  at::Device device_;
  at::ScalarType dtype_;
  std::string prefix_;
};

ClipVision ClipVision::load(const std::string& dir, at::Device device, at::ScalarType dtype) {
  const card::ClipVisionConfig config = card::read_clip_vision_config(dir + "/image_encoder");
  return load(config, card::read_clip_picture_config(dir, config), dir + "/image_encoder", device, dtype);
}

ClipVision ClipVision::load(const card::ClipVisionConfig& config, const card::ClipPictureConfig& picture,
                            const std::string& folder, at::Device device, at::ScalarType dtype, TensorReader* reader) {
  WeightMap weights = WeightMap::open(folder, reader);
  ClipVision clip(config, picture, weights, device, dtype);
  weights.expect_all_taken();
  return clip;
}

ClipVision::ClipVision(const card::ClipVisionConfig& config, const card::ClipPictureConfig& picture, WeightMap& weights,
                       at::Device device, at::ScalarType dtype)
    : config_(config), picture_(picture), device_(device), dtype_(dtype) {
  const c10::InferenceMode inference;
  const Loader load(weights, device, dtype);
  const std::int64_t width = config.hidden_size;
  class_D_ = load.tensor("embeddings.class_embedding", {width});
  patch_DP_ =
      load.tensor("embeddings.patch_embedding.weight", {width, 3, config.patch_size, config.patch_size}).flatten(1);
  positions_TD_ = load.tensor("embeddings.position_embedding.weight", {config.tokens(), width});
  pre_norm_ = load.norm("pre_layrnorm", width);
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string name = "encoder.layers." + std::to_string(i) + ".";
    const auto project = [&](const char* which) { return load.linear(name + "self_attn." + which, width, width); };
    const Affine q = project("q_proj");
    const Affine k = project("k_proj");
    const Affine v = project("v_proj");
    layers_.push_back({load.norm(name + "layer_norm1", width),
                       {at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias})},
                       project("out_proj"),
                       load.norm(name + "layer_norm2", width),
                       load.linear(name + "mlp.fc1", width, config.intermediate_size),
                       load.linear(name + "mlp.fc2", config.intermediate_size, width)});
  }
  layers_.pop_back();  // nobody looks at what the last one makes, nor behind it
  load.norm("post_layernorm", width);
  load.skip("embeddings.position_ids");
  weights.skip("visual_projection.weight");  // of a CLIPVisionModelWithProjection
}

void ClipVision::each_weight(const WeightVisitor& visit) {
  const auto show = [&](Affine& affine) {
    visit(affine.weight);
    visit(affine.bias);
  };
  for (at::Tensor* tensor : {&class_D_, &patch_DP_, &positions_TD_}) visit(*tensor);
  show(pre_norm_);
  for (Layer& l : layers_) {
    for (Affine* affine : {&l.norm1, &l.qkv, &l.out, &l.norm2, &l.fc1, &l.fc2}) show(*affine);
  }
}

at::Tensor ClipVision::norm(const Affine& affine, const at::Tensor& x_NTD) const {
  return at::layer_norm(x_NTD, {config_.hidden_size}, affine.weight, affine.bias, config_.layer_norm_eps);
}

at::Tensor ClipVision::run_layer(const Layer& layer, const at::Tensor& x_NTD) const {
  const std::vector<at::Tensor> qkv_NTHK = at::linear(norm(layer.norm1, x_NTD), layer.qkv.weight, layer.qkv.bias)
                                               .unflatten(2, {3, config_.num_attention_heads, -1})
                                               .unbind(2);
  const at::Tensor mixed_NTD = ops::attention(qkv_NTHK[0], qkv_NTHK[1], qkv_NTHK[2]).flatten(2);
  const at::Tensor y_NTD = x_NTD + at::linear(mixed_NTD, layer.out.weight, layer.out.bias);
  at::Tensor hidden = at::linear(norm(layer.norm2, y_NTD), layer.fc1.weight, layer.fc1.bias);
  hidden = config_.quick_gelu ? hidden * at::sigmoid(hidden * 1.702) : at::gelu(hidden);
  return y_NTD + at::linear(hidden, layer.fc2.weight, layer.fc2.bias);
}

at::Tensor ClipVision::encode(const at::Tensor& pictures_NHW3) const {
  const c10::InferenceMode inference;
  const std::int64_t patch = config_.patch_size;
  const std::int64_t grid = config_.image_size / patch;
  const auto colours = [](const std::array<double, 3>& values) {
    return at::tensor(at::ArrayRef<double>(values.data(), 3), at::kDouble).to(at::kFloat);
  };
  const at::Tensor scaled_NHW3 =
      ((pictures_NHW3.to(at::kFloat) / 255 - colours(picture_.mean)) / colours(picture_.std)).to(device_, dtype_);
  const at::Tensor patches_NTP = scaled_NHW3.slice(1, 0, grid * patch)
                                     .slice(2, 0, grid * patch)
                                     .unflatten(1, {grid, patch})
                                     .unflatten(3, {grid, patch})
                                     .permute({0, 1, 3, 5, 2, 4})
                                     .flatten(3)
                                     .flatten(1, 2);
  const at::Tensor class_N1D = class_D_.expand({pictures_NHW3.size(0), 1, -1});
  at::Tensor x_NTD = at::cat({class_N1D, at::matmul(patches_NTP, patch_DP_.t())}, 1) + positions_TD_;
  x_NTD = norm(pre_norm_, x_NTD);
  for (const Layer& layer : layers_) x_NTD = run_layer(layer, x_NTD);
  return x_NTD;
}

}  // namespace nightreel::model

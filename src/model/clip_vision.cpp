// N pictures, H, W their size, T tokens, D hidden_size, P elements of a patch.
#include "nightreel/model/clip_vision.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "nightreel/base/error.h"
#include "nightreel/ops/attention.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

namespace {

constexpr const char* kOldPrefix = "vision_model.";  // of transformers 4, which published folders have

at::Tensor flattened(const at::Tensor& taken) {
  return taken.flatten(1);
}

}  // namespace

ClipVision ClipVision::load(const std::string& dir, at::Device device, at::ScalarType dtype) {
  const card::ClipVisionConfig config = card::read_clip_vision_config(dir + "/image_encoder");
  return load(config, card::read_clip_picture_config(dir, config), weights::WeightMap::open(dir + "/image_encoder"),
              device, dtype);
}

ClipVision ClipVision::load(const card::ClipVisionConfig& config, const card::ClipPictureConfig& picture,
                            weights::WeightMap weights, at::Device device, at::ScalarType dtype) {
  const c10::InferenceMode inference;
  ClipVision clip(config, picture, device, dtype);
  load_all(clip.parameters(), weights, device);
  return clip;
}

ClipVision::ClipVision(const card::ClipVisionConfig& config, const card::ClipPictureConfig& picture, at::Device device,
                       at::ScalarType dtype)
    : config_(config),
      picture_(picture),
      device_(device),
      dtype_(dtype),
      layers_(static_cast<std::size_t>(config.num_hidden_layers - 1)) {}

std::vector<Parameter> ClipVision::parameters() {
  ParameterList list(dtype_);
  const std::int64_t width = config_.hidden_size;
  const std::int64_t patch = config_.patch_size;
  list.stray("visual_projection.weight");  // of a CLIPVisionModelWithProjection
  list.or_under(kOldPrefix);
  list.stray("embeddings.position_ids");
  list.tensor(class_D_, "embeddings.class_embedding", {width});
  list.tensor(patch_DP_, "embeddings.patch_embedding.weight", {width, 3, patch, patch}, flattened);
  list.tensor(positions_TD_, "embeddings.position_embedding.weight", {config_.tokens(), width});
  add_norm(pre_norm_, "pre_layrnorm", list);
  for (std::size_t i = 0; i < layers_.size(); ++i) add_layer(layers_[i], i, list);
  list.kept(false);
  Layer last;
  add_layer(last, layers_.size(), list);
  add_norm(last.norm2, "post_layernorm", list);
  return list.take();
}

void ClipVision::add_norm(Norm& norm, const std::string& name, ParameterList& list) const {
  list.tensor(norm.weight, name + ".weight", {config_.hidden_size});
  list.tensor(norm.bias, name + ".bias", {config_.hidden_size});
}

void ClipVision::add_layer(Layer& layer, std::size_t index, ParameterList& list) const {
  const std::int64_t width = config_.hidden_size;
  const std::string name = "encoder.layers." + std::to_string(index) + ".";
  add_norm(layer.norm1, name + "layer_norm1", list);
  list.fused(layer.qkv, name + "self_attn.", {"q_proj", "k_proj", "v_proj"}, width, width);
  list.linear(layer.out, name + "self_attn.out_proj", width, width);
  add_norm(layer.norm2, name + "layer_norm2", list);
  list.linear(layer.fc1, name + "mlp.fc1", width, config_.intermediate_size);
  list.linear(layer.fc2, name + "mlp.fc2", config_.intermediate_size, width);
}

void ClipVision::each_weight(const WeightVisitor& visit) {
  for (const Parameter& parameter : parameters()) each_tensor(parameter, visit);
}

at::Tensor ClipVision::normed(const Norm& norm, const at::Tensor& x_NTD) const {
  return at::layer_norm(x_NTD, {config_.hidden_size}, norm.weight, norm.bias, config_.layer_norm_eps);
}

at::Tensor ClipVision::run_layer(const Layer& layer, const at::Tensor& x_NTD) const {
  const std::vector<at::Tensor> qkv_NTHK =
      layer.qkv(normed(layer.norm1, x_NTD)).unflatten(2, {3, config_.num_attention_heads, -1}).unbind(2);
  const at::Tensor mixed_NTD = ops::attention(qkv_NTHK[0], qkv_NTHK[1], qkv_NTHK[2]).flatten(2);
  const at::Tensor y_NTD = x_NTD + layer.out(mixed_NTD);
  at::Tensor hidden = layer.fc1(normed(layer.norm2, y_NTD));
  hidden = config_.quick_gelu ? hidden * at::sigmoid(hidden * 1.702) : at::gelu(hidden);
  return y_NTD + layer.fc2(hidden);
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
  x_NTD = normed(pre_norm_, x_NTD);
  for (const Layer& layer : layers_) x_NTD = run_layer(layer, x_NTD);
  return x_NTD;
}

}  // namespace nightreel::model

// CLIP's image encoder: from a picture to the vectors by which Wan 2.1's image-to-video transformers know it.
//
// Owns its weights, on one device in one dtype. Const calls; any thread. Settings and weights that this program does
// not have throw base::Error{model} that names the file. The arithmetic is that of transformers 5.23, CLIPVisionModel
// (models/clip/modeling_clip.py), as far as the last layer but one, where diffusers' WanImageToVideoPipeline reads it.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nightreel/model/weight_visitor.h"

namespace nightreel::model {

class TensorReader;
class WeightMap;

struct ClipVisionConfig {
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t image_size = 224;
  std::int64_t patch_size = 32;
  bool quick_gelu = true;
  double layer_norm_eps = 1e-5;

  std::int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size) + 1; }
};

/// Reads image_encoder/config.json; `path` is named in errors. Defaults are transformers'.
ClipVisionConfig parse_clip_vision_config(const nlohmann::json& config, const std::string& path);

/// What image_processor/preprocessor_config.json says: a picture is brought to `shortest_edge` by Pillow's bicubic
/// filter, cut to the square in its middle, and its colours to this mean and spread.
struct ClipPictureConfig {
  std::int64_t shortest_edge = 224;
  std::int64_t crop = 224;
  std::array<double, 3> mean{0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> std{0.26862954, 0.26130258, 0.27577711};
};

ClipPictureConfig parse_clip_picture_config(const nlohmann::json& config, const std::string& path);

class ClipVision {
 public:
  /// Loads image_encoder/ and image_processor/ of the Diffusers folder `dir`.
  static ClipVision load(const std::string& dir, at::Device device, at::ScalarType dtype,
                         TensorReader* reader = nullptr);
  ClipVision(const ClipVisionConfig& config, const ClipPictureConfig& picture, WeightMap& weights, at::Device device,
             at::ScalarType dtype);

  const ClipVisionConfig& config() const { return config_; }
  const ClipPictureConfig& picture() const { return picture_; }

  /// Shows every weight; see weight_visitor.h.
  void each_weight(const WeightVisitor& visit);

  /// Pictures [N, crop, crop, 3] uint8 to the hidden state after the last layer but one, [N, tokens, hidden_size].
  at::Tensor encode(const at::Tensor& pictures_NHW3) const;

 private:
  struct Affine {
    at::Tensor weight, bias;
  };
  struct Layer {
    Affine norm1, qkv, out, norm2, fc1, fc2;
  };
  class Loader;
  at::Tensor norm(const Affine& affine, const at::Tensor& x_NTD) const;
  at::Tensor run_layer(const Layer& layer, const at::Tensor& x_NTD) const;

  ClipVisionConfig config_;
  ClipPictureConfig picture_;
  at::Device device_;
  at::ScalarType dtype_;
  at::Tensor class_D_, patch_DP_, positions_TD_;
  Affine pre_norm_;
  std::vector<Layer> layers_;
};

}  // namespace nightreel::model

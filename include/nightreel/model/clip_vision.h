// CLIP's image encoder: from a picture to the vectors by which Wan 2.1's image-to-video transformers know it.
//
// Owns its weights, on one device in one dtype. Const calls; any thread. Settings and weights that this program does
// not have throw base::Error{model} that names the file. The arithmetic is that of transformers 5.23, CLIPVisionModel
// (models/clip/modeling_clip.py), as far as the last layer but one, where diffusers' WanImageToVideoPipeline reads it.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

class ClipVision {
 public:
  /// Loads image_encoder/ and image_processor/ of the checkpoint `dir`.
  static ClipVision load(const std::string& dir, at::Device device, at::ScalarType dtype);
  /// The same where the configurations have been read, and the tensors are known.
  static ClipVision load(const card::ClipVisionConfig& config, const card::ClipPictureConfig& picture,
                         weights::WeightMap weights, at::Device device, at::ScalarType dtype);
  /// Without its numbers: it says which tensors it is made of, and computes when load_parameters() has put them in
  /// their places.
  ClipVision(const card::ClipVisionConfig& config, const card::ClipPictureConfig& picture, at::Device device,
             at::ScalarType dtype);

  const card::ClipVisionConfig& config() const { return config_; }
  const card::ClipPictureConfig& picture() const { return picture_; }

  /// Every weight, with its Diffusers names, and what files hold beside them.
  std::vector<Parameter> parameters();
  /// Shows every weight; see WeightVisitor.
  void each_weight(const WeightVisitor& visit);

  /// Pictures [N, crop, crop, 3] uint8 to the hidden state after the last layer but one, [N, tokens, hidden_size].
  at::Tensor encode(const at::Tensor& pictures_NHW3) const;

 private:
  struct Norm {
    at::Tensor weight, bias;
  };
  struct Layer {
    Norm norm1, norm2;
    Linear qkv, out, fc1, fc2;
  };
  void add_norm(Norm& norm, const std::string& name, ParameterList& list) const;
  void add_layer(Layer& layer, std::size_t index, ParameterList& list) const;
  at::Tensor normed(const Norm& norm, const at::Tensor& x_NTD) const;
  at::Tensor run_layer(const Layer& layer, const at::Tensor& x_NTD) const;

  card::ClipVisionConfig config_;
  card::ClipPictureConfig picture_;
  at::Device device_;
  at::ScalarType dtype_;
  at::Tensor class_D_, patch_DP_, positions_TD_;
  Norm pre_norm_;
  std::vector<Layer> layers_;  // but the last, at whose output nobody looks
};

}  // namespace nightreel::model

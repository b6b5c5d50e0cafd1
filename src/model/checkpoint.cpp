#include "nightreel/model/checkpoint.h"

#include "nightreel/model/clip_vision.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/weights/digest.h"

namespace nightreel::model {

// On the meta device a module has shapes, and no numbers.
weights::TensorList tensors_of(const card::TransformerConfig& config) {
  return listed(Transformer(config, {at::kMeta, at::kFloat}).parameters());
}

weights::TensorList tensors_of(const card::VaeConfig& config) {
  return listed(Vae(config, at::kMeta, at::kFloat).parameters());
}

weights::TensorList tensors_of(const card::Umt5Config& config) {
  return listed(Umt5Encoder(config, at::kMeta, at::kFloat).parameters());
}

weights::TensorList tensors_of(const card::ClipVisionConfig& config) {
  return listed(ClipVision(config, {}, at::kMeta, at::kFloat).parameters());
}

weights::ListOf lists_of(const std::string& folder) {
  return [folder](const std::string& component) {
    const std::string place = folder + "/" + component;
    if (component == "vae") return tensors_of(card::read_vae_config(place));
    if (component == "text_encoder") return tensors_of(card::read_umt5_config(place));
    if (component == "image_encoder") return tensors_of(card::read_clip_vision_config(place));
    return tensors_of(card::read_transformer_config(place));
  };
}

std::string model_digest(const std::string& folder, const base::CancelToken& cancel) {
  return weights::checkpoint_digest(folder, lists_of(folder), cancel);
}

}  // namespace nightreel::model

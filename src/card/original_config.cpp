// The JSON files of a folder in either layout, for writing one that is the same model.
#include <map>

#include "card/original.h"
#include "card/published_parts.h"
#include "nightreel/base/error.h"
#include "nightreel/card/card.h"
#include "nightreel/card/checkpoint.h"

namespace nightreel::card {
namespace {

using base::Error;
using base::ErrorKind;

[[noreturn]] void refuse_original_config(const std::string& folder, const std::string& why) {
  throw Error(ErrorKind::model, base::printable(folder) + ": cannot be written in the original layout: " + why +
                                    ", which Wan's code has not");
}

/// What `card` is in Wan's words, with the experts' folders as they would be written.
OriginalModel original_model(const Card& card) {
  OriginalModel model;
  model.type = std::string(name(card.kind));
  model.experts = card.two_experts() ? std::vector<std::string>{kHighNoise, kLowNoise} : std::vector<std::string>{"."};
  if (card.experts.front() != "transformer") refuse_original_config(card.folder, "a low-noise expert alone");
  if (model.clip() != (card.transformer().image_dim > 0)) {
    refuse_original_config(card.folder, "a " + model.type + " model of " + std::to_string(card.experts.size()) +
                                            " expert(s) " + (model.clip() ? "without" : "with") + " an image encoder");
  }
  double boundary = 0;
  try {
    boundary = original_boundary(model);
  } catch (const Error&) {
    refuse_original_config(card.folder, "a " + model.type + " model of two experts");
  }
  if (card.two_experts() && card.boundary_ratio != boundary) {
    refuse_original_config(card.folder, "boundary_ratio " +
                                            (card.boundary_ratio ? std::to_string(*card.boundary_ratio) : "null") +
                                            " instead of " + std::to_string(boundary));
  }
  return model;
}

/// Wan's own config.json of a transformer that Diffusers describes by `config`: what transformer_json (original.cpp)
/// makes of it is `config` again. What Wan's class leaves out of its config.json stands there only where it is not the
/// default.
Json wan_config(const TransformerConfig& config, const std::string& type) {
  const TransformerConfig defaults;
  Json wan{{"_class_name", "WanModel"},
           {"_diffusers_version", "0.33.0"},
           {"dim", config.width()},
           {"eps", config.eps},
           {"ffn_dim", config.ffn_dim},
           {"freq_dim", config.freq_dim},
           {"in_dim", config.in_channels},
           {"model_type", type},
           {"num_heads", config.num_attention_heads},
           {"num_layers", config.num_layers},
           {"out_dim", config.out_channels},
           {"text_len", kTextLen}};
  if (config.text_dim != defaults.text_dim) wan["text_dim"] = config.text_dim;
  if (config.patch_size != defaults.patch_size) wan["patch_size"] = config.patch_size;
  if (!config.cross_attn_norm) wan["cross_attn_norm"] = false;
  return wan;
}

/// Without what changes nothing: nulls, and what Diffusers notes for itself.
Json essence(const Json& config) {
  Json kept = Json::object();
  for (const auto& [key, value] : config.items()) {
    if (key.rfind('_', 0) != 0 && !value.is_null()) kept[key] = value;
  }
  return kept;
}

std::map<std::string, Json> original_files(const std::string& folder) {
  const Card card = read(folder);
  const OriginalModel model = original_model(card);
  std::map<std::string, Json> files;
  for (std::size_t i = 0; i < card.experts.size(); ++i) {
    const std::string place = model.experts[i] == "." ? "config.json" : model.experts[i] + "/config.json";
    files[place] = wan_config(card.transformers[i], model.type);
  }
  const auto unless_published = [&](const std::string& place, const Json& published) {
    const Json config = checkpoint_json(folder + "/" + place).json;
    if (essence(config) != essence(published)) files[place] = config;
  };
  unless_published("vae/config.json", model.type == "ti2v" ? published_vae22() : published_vae21());
  unless_published("text_encoder/config.json", published_text_encoder());
  unless_published("scheduler/scheduler_config.json", published_scheduler(original_flow_shift(model)));
  if (!model.clip()) return files;
  unless_published("image_encoder/config.json", published_image_encoder());
  unless_published("image_processor/preprocessor_config.json", published_processor());
  return files;
}

std::map<std::string, Json> diffusers_files(const std::string& folder) {
  std::map<std::string, Json> files;
  std::vector<std::string> names{"model_index.json", "scheduler/scheduler_config.json"};
  for (const std::string& component : components_of(folder)) {
    names.push_back(component + "/config.json");
    if (component == "image_encoder") names.emplace_back("image_processor/preprocessor_config.json");
  }
  for (const std::string& file : names) files[file] = checkpoint_json(folder + "/" + file).json;
  return files;
}

}  // namespace

std::map<std::string, Json> config_files(const std::string& folder, Layout as) {
  return as == Layout::original ? original_files(folder) : diffusers_files(folder);
}

std::string original_place(const std::string& folder, const std::string& component, const std::string& precision) {
  const OriginalModel model = original_model(read(folder));
  if (component == "transformer") return model.experts.front();
  if (component == "transformer_2") return model.experts.back();
  if (component == "vae") return original_vae_name(model) + ".safetensors";
  if (component == "text_encoder") return kTextStem + precision + ".safetensors";
  return std::string(kClipStem) + ".safetensors";
}

}  // namespace nightreel::card

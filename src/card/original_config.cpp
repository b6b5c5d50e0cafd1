// The JSON files of a folder in either layout, for writing one that is the same model.
#include <map>

#include "card/original.h"
#include "card/published_parts.h"
#include "nightreel/base/error.h"
#include "nightreel/card/card.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;

[[noreturn]] void refuse_original_config(const std::string& folder, const std::string& why) {
  throw Error(ErrorKind::model, base::printable(folder) + ": cannot be written in the original layout: " + why +
                                    ", which Wan's code has not");
}

/// What `card` is in Wan's words, with the experts' folders as they would be written.
OriginalModel original_model(const ModelCard& card) {
  OriginalModel model;
  model.type = std::string(name(card.kind));
  model.experts = card.two_experts() ? std::vector<std::string>{kHighNoise, kLowNoise} : std::vector<std::string>{"."};
  if (card.experts.front() != "transformer") refuse_original_config(card.folder, "a low-noise expert alone");
  if (model.clip() != (card.transformer.image_dim > 0)) {
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
Json wan_config(const std::string& folder, const Json& config, const std::string& type) {
  const auto number = [&](const char* key, std::int64_t otherwise) {
    return config.contains(key) && !config[key].is_null() ? config[key].get<std::int64_t>() : otherwise;
  };
  const std::int64_t heads = number("num_attention_heads", 40);
  const std::int64_t in = number("in_channels", 16);
  Json wan{{"_class_name", "WanModel"},
           {"_diffusers_version", "0.33.0"},
           {"dim", heads * number("attention_head_dim", 128)},
           {"eps", config.value("eps", 1e-6)},
           {"ffn_dim", number("ffn_dim", 13824)},
           {"freq_dim", number("freq_dim", 256)},
           {"in_dim", in},
           {"model_type", type},
           {"num_heads", heads},
           {"num_layers", number("num_layers", 40)},
           {"out_dim", config.contains("out_channels") ? number("out_channels", in) : 16},
           {"text_len", 512}};
  if (number("text_dim", 4096) != 4096) wan["text_dim"] = number("text_dim", 4096);
  const Json patch = config.value("patch_size", Json{1, 2, 2});
  if (patch != Json{1, 2, 2}) wan["patch_size"] = patch;
  if (!config.value("cross_attn_norm", true)) wan["cross_attn_norm"] = false;
  if (config.contains("qk_norm") && config["qk_norm"] != "rms_norm_across_heads")
    refuse_original_config(folder, "another qk_norm");
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
  const ModelCard card = read_model_card(folder);
  const OriginalModel model = original_model(card);
  std::map<std::string, Json> files;
  for (std::size_t i = 0; i < card.experts.size(); ++i) {
    const std::string place = model.experts[i] == "." ? "config.json" : model.experts[i] + "/config.json";
    const Json config = checkpoint_json(folder + "/" + card.experts[i] + "/config.json").json;
    files[place] = wan_config(folder, config, model.type);
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
  const OriginalModel model = original_model(read_model_card(folder));
  if (component == "transformer") return model.experts.front();
  if (component == "transformer_2") return model.experts.back();
  if (component == "vae") return original_vae_name(model) + ".safetensors";
  if (component == "text_encoder") return kTextStem + precision + ".safetensors";
  return std::string(kClipStem) + ".safetensors";
}

}  // namespace nightreel::job

#include "card/original.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "card/config_reader.h"
#include "card/published_parts.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/links.h"
#include "nightreel/card/card.h"
#include "nightreel/tensorfile/formats.h"

namespace nightreel::card {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using base::printable;

[[noreturn]] void refuse_original(const std::string& root, const std::string& why) {
  throw Error(ErrorKind::model, printable(root) + ": " + why);
}

/// The file names in `root` that begin with `stem` and end as weights do.
std::vector<std::string> weight_files(const std::string& root, const std::string& stem) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.rfind(stem, 0) == 0 && tensorfile::format_of(name) != nullptr) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string only_file(const std::string& root, const std::string& stem, const std::string& published) {
  const auto names = weight_files(root, stem);
  if (names.empty()) refuse_original(root, "has no " + published + " (nor the same as .safetensors)");
  if (names.size() > 1)
    refuse_original(root, "has both " + printable(names[0]) + " and " + printable(names[1]) + ": keep one");
  return root + "/" + names[0];
}

/// Fields of Wan's WanModel.__init__ (wan/modules/model.py), with its defaults; the config.json of a published model
/// leaves out those that were never changed.
ConfigReader expert_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  if (!base::exists(path)) {
    const std::string dangling = base::dangling_link(path);
    refuse_original(path, dangling.empty() ? "is missing: download the folder again" : dangling);
  }
  ConfigReader config(base::read_json(path), path);
  config.ignore({"window_size", "quantization_config"});
  if (config.has("_class_name") && config.text("_class_name") != "WanModel") {
    config.refuse("_class_name", printable(config.text("_class_name"), 60) + " is not supported, only WanModel");
  }
  if (config.integer("text_len", kTextLen) != kTextLen) config.refuse("text_len", "only 512 is supported");
  if (!config.boolean("qk_norm", true)) config.refuse("qk_norm", "only true is supported");
  config.ignore({"model_type", "patch_size", "in_dim", "dim", "ffn_dim", "freq_dim", "text_dim", "out_dim", "num_heads",
                 "num_layers", "cross_attn_norm", "eps"});
  config.refuse_unknown();
  return config;
}

std::string model_type(ConfigReader& config) {
  const std::string type = config.has("model_type") ? config.text("model_type") : "t2v";
  if (type != "t2v" && type != "i2v" && type != "flf2v" && type != "ti2v") {
    config.refuse("model_type", printable(type, 60) + " is not supported, only t2v, i2v, flf2v and ti2v");
  }
  return type;
}

Json transformer_json(const std::string& root, const OriginalModel& model, const std::string& folder) {
  ConfigReader config = expert_config(folder);
  const std::int64_t dim = config.integer("dim", 2048);
  const std::int64_t heads = config.integer("num_heads", 16);
  if (dim % heads != 0) config.refuse("num_heads", "does not divide dim");
  const Json& patch = config.value("patch_size");
  Json json{{"_class_name", "WanTransformer3DModel"},
            {"added_kv_proj_dim", nullptr},
            {"attention_head_dim", dim / heads},
            {"cross_attn_norm", config.boolean("cross_attn_norm", true)},
            {"eps", config.fraction("eps", 1e-6)},
            {"ffn_dim", config.integer("ffn_dim", 8192)},
            {"freq_dim", config.integer("freq_dim", 256)},
            {"image_dim", nullptr},
            {"in_channels", config.integer("in_dim", 16)},
            {"num_attention_heads", heads},
            {"num_layers", config.integer("num_layers", 32)},
            {"out_channels", config.integer("out_dim", 16)},
            {"patch_size", patch.is_null() ? Json{1, 2, 2} : patch},
            {"pos_embed_seq_len", nullptr},
            {"qk_norm", "rms_norm_across_heads"},
            {"rope_max_seq_len", 1024},
            {"text_dim", config.integer("text_dim", 4096)}};
  if (!model.clip()) return json;
  const ClipVisionConfig clip = read_clip_vision_config(root + "/image_encoder");
  json["image_dim"] = clip.hidden_size;
  json["added_kv_proj_dim"] = dim;
  if (model.type == "flf2v") json["pos_embed_seq_len"] = 2 * clip.tokens();
  return json;
}

/// wan/configs/*.py: what belongs to the kind of model and stands in no file of the folder.
struct KindDefaults {
  const char* type;
  std::size_t experts;
  double flow_shift;
  double boundary_ratio;  // 0: none
};

constexpr std::array<KindDefaults, 6> kKinds{{{"t2v", 2, 12.0, 0.875},
                                              {"i2v", 2, 5.0, 0.9},
                                              {"t2v", 1, 5.0, 0},
                                              {"i2v", 1, 5.0, 0},
                                              {"flf2v", 1, 16.0, 0},
                                              {"ti2v", 1, 5.0, 0}}};

const KindDefaults& defaults_of(const OriginalModel& model) {
  const auto* found = std::find_if(kKinds.begin(), kKinds.end(), [&](const KindDefaults& kind) {
    return model.type == kind.type && model.experts.size() == kind.experts;
  });
  if (found != kKinds.end()) return *found;
  refuse_original(model.experts.front() + "/config.json",
                  "model_type: " + model.type + " does not go with two experts");
}

Json model_index(const OriginalModel& model) {
  const KindDefaults& kind = defaults_of(model);
  const bool picture = model.type == "i2v" || model.type == "flf2v";
  const Json none{nullptr, nullptr};
  const Json transformer{"diffusers", "WanTransformer3DModel"};
  Json index{{"_class_name", picture ? "WanImageToVideoPipeline" : "WanPipeline"},
             {"_diffusers_version", "0.35.0"},
             {"boundary_ratio", kind.boundary_ratio > 0 ? Json(kind.boundary_ratio) : Json(nullptr)},
             {"expand_timesteps", model.type == "ti2v"},
             {"scheduler", {"diffusers", "UniPCMultistepScheduler"}},
             {"text_encoder", {"transformers", "UMT5EncoderModel"}},
             {"tokenizer", {"transformers", "T5TokenizerFast"}},
             {"transformer", transformer},
             {"transformer_2", model.experts.size() == 2 ? transformer : none},
             {"vae", {"diffusers", "AutoencoderKLWan"}}};
  if (!picture) return index;
  index["image_encoder"] = model.clip() ? Json{"transformers", "CLIPVisionModel"} : none;
  index["image_processor"] = model.clip() ? Json{"transformers", "CLIPImageProcessor"} : none;
  return index;
}

}  // namespace

std::string original_vae_name(const OriginalModel& model) {
  return model.type == "ti2v" ? "Wan2.2_VAE" : "Wan2.1_VAE";
}

double original_boundary(const OriginalModel& model) {
  return defaults_of(model).boundary_ratio;
}

double original_flow_shift(const OriginalModel& model) {
  return defaults_of(model).flow_shift;
}

bool is_original_name(const std::string& name) {
  return name == kHighNoise || name == kLowNoise || name.rfind(kTextStem, 0) == 0 ||
         name.rfind("Wan2.1_VAE.", 0) == 0 || name.rfind("Wan2.2_VAE.", 0) == 0;
}

OriginalModel read_original(const std::string& root) {
  OriginalModel model;
  if (base::exists(root + "/" + kHighNoise) || base::exists(root + "/" + kLowNoise)) {
    for (const char* expert : {kHighNoise, kLowNoise}) {
      if (!base::exists(root + "/" + expert))
        refuse_original(root, std::string("has no ") + expert + "/, but the other expert");
      model.experts.push_back(root + "/" + expert);
    }
  } else {
    model.experts.push_back(root);
  }
  for (const std::string& folder : model.experts) {
    ConfigReader config = expert_config(folder);
    const std::string type = model_type(config);
    if (!model.type.empty() && type != model.type) config.refuse("model_type", "is not that of the other expert");
    model.type = type;
  }
  defaults_of(model);
  return model;
}

CheckpointJson original_json(const std::string& root, const std::string& name) {
  const OriginalModel model = read_original(root);
  const std::string config = model.experts.front() + "/config.json";
  if (name == "model_index.json") return {model_index(model), config};
  if (name == "transformer/config.json") return {transformer_json(root, model, model.experts.front()), config};
  if (name == "transformer_2/config.json" && model.experts.size() == 2) {
    return {transformer_json(root, model, model.experts.back()), model.experts.back() + "/config.json"};
  }
  const std::string published = root + "/" + name + " (as published)";
  if (name == "scheduler/scheduler_config.json") {
    return {published_scheduler(defaults_of(model).flow_shift), published};
  }
  if (name == "vae/config.json") return {model.type == "ti2v" ? published_vae22() : published_vae21(), published};
  if (name == "text_encoder/config.json") return {published_text_encoder(), published};
  if (name == "image_encoder/config.json" && model.clip()) return {published_image_encoder(), published};
  if (name == "image_processor/preprocessor_config.json" && model.clip()) return {published_processor(), published};
  refuse_original(root + "/" + name, "this model has no such part");
}

std::string original_weights_path(const std::string& root, const std::string& component) {
  const OriginalModel model = read_original(root);
  if (component == "transformer") return model.experts.front();
  if (component == "transformer_2" && model.experts.size() == 2) return model.experts.back();
  if (component == "vae") return only_file(root, original_vae_name(model) + ".", original_vae_name(model) + ".pth");
  if (component == "text_encoder") return only_file(root, kTextStem, std::string(kTextStem) + "bf16.pth");
  if (component == "image_encoder" && model.clip()) return only_file(root, kClipStem, std::string(kClipStem) + ".pth");
  refuse_original(root + "/" + component, "this model has no such part");
}

}  // namespace nightreel::card

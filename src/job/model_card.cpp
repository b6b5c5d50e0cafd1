#include "nightreel/job/model_card.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "job/config_file.h"
#include "nightreel/base/fields.h"
#include "nightreel/job/checkpoint.h"
#include "nightreel/job/published.h"

namespace nightreel::job {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using base::printable;

/// The class that model_index.json names for a component, empty where it is [null, null].
std::string class_of(const ConfigFile& index, const std::string& component) {
  if (!index.has(component)) return "";
  const Json& entry = index.json().at(component);
  if (!entry.is_array() || entry.size() != 2 || !(entry[1].is_string() || entry[1].is_null())) {
    index.refuse(component, "[library, class] is needed");
  }
  return entry[1].is_null() ? "" : entry[1].get<std::string>();
}

void require_class(const ConfigFile& index, const std::string& component, const std::string& wanted) {
  const std::string given = class_of(index, component);
  if (given.empty()) index.refuse(component, "is missing");
  if (given != wanted) index.refuse(component, printable(given, 60) + " is not supported, only " + wanted);
}

/// diffusers' WanPipeline lets either transformer be null (its _optional_components).
std::vector<std::string> experts_of(const ConfigFile& index) {
  std::vector<std::string> experts;
  for (const std::string component : {"transformer", "transformer_2"}) {
    if (class_of(index, component).empty()) continue;
    require_class(index, component, "WanTransformer3DModel");
    experts.push_back(component);
  }
  if (experts.empty()) index.refuse("transformer", "is missing, and so is transformer_2");
  return experts;
}

std::array<std::int64_t, 3> patch_size(const ConfigFile& config) {
  std::array<std::int64_t, 3> patch{1, 2, 2};
  if (!config.has("patch_size")) return patch;
  const Json& value = config.json().at("patch_size");
  if (!value.is_array() || value.size() != 3) config.refuse("patch_size", "three integers are needed");
  try {
    for (std::size_t i = 0; i < 3; ++i) patch.at(i) = base::read_integer(value[i], 1, 64);
  } catch (const Error& e) {
    config.refuse("patch_size", e.what());
  }
  return patch;
}

// Defaults: WanTransformer3DModel.__init__ (diffusers, models/transformers/transformer_wan.py).
TransformerSize read_transformer(const ConfigFile& config) {
  TransformerSize t;
  t.num_layers = config.integer("num_layers", 1, 4096, 40);
  t.num_attention_heads = config.integer("num_attention_heads", 1, 4096, 40);
  t.attention_head_dim = config.integer("attention_head_dim", 1, 4096, 128);
  t.ffn_dim = config.integer("ffn_dim", 1, ConfigFile::kMaxSize, 13824);
  t.freq_dim = config.integer("freq_dim", 1, ConfigFile::kMaxSize, 256);
  t.text_dim = config.integer("text_dim", 1, ConfigFile::kMaxSize, 4096);
  t.in_channels = config.integer("in_channels", 1, 4096, 16);
  t.out_channels = config.integer("out_channels", 1, 4096, 16);
  t.image_dim = config.integer("image_dim", 0, ConfigFile::kMaxSize, 0);
  t.pos_embed_seq_len = config.integer("pos_embed_seq_len", 0, ConfigFile::kMaxSize, 0);
  t.patch_size = patch_size(config);
  return t;
}

void read_transformers(ModelCard& card) {
  for (const auto& expert : card.experts) {
    const ConfigFile config(card.folder + "/" + expert + "/config.json");
    const TransformerSize size = read_transformer(config);
    const auto patches = config.integer("rope_max_seq_len", 1, ConfigFile::kMaxSize, 1024);
    card.rope_max_seq_len = expert == card.experts.front() ? patches : std::min(card.rope_max_seq_len, patches);
    if (expert != card.experts.front() && size != card.transformer) {
      throw Error(ErrorKind::model, printable(config.path()) + ": the two experts differ in their dimensions");
    }
    card.transformer = size;
  }
}

std::int64_t list_length(const ConfigFile& config, const std::string& field, std::int64_t otherwise) {
  if (!config.has(field)) return otherwise;
  const Json& value = config.json().at(field);
  if (!value.is_array() || value.empty() || value.size() > 16) config.refuse(field, "a list is needed");
  return static_cast<std::int64_t>(value.size());
}

std::int64_t count_true(const ConfigFile& config, const std::string& field, std::int64_t otherwise) {
  if (list_length(config, field, 0) == 0) return otherwise;
  const Json& value = config.json().at(field);
  if (!std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_boolean(); })) {
    config.refuse(field, "a list of true and false is needed");
  }
  return std::count(value.begin(), value.end(), Json(true));
}

// Defaults: AutoencoderKLWan.__init__ (diffusers, models/autoencoders/autoencoder_kl_wan.py). The pipeline believes
// scale_factor_*, the layers do what dim_mult, patch_size and temperal_downsample say: they must agree.
void read_vae(ModelCard& card) {
  const ConfigFile config(card.folder + "/vae/config.json");
  card.z_dim = config.integer("z_dim", 1, 4096, 16);
  card.vae_spatial = config.integer("scale_factor_spatial", 1, 1024, 8);
  card.vae_temporal = config.integer("scale_factor_temporal", 1, 1024, 4);
  const std::int64_t spatial =
      (std::int64_t{1} << (list_length(config, "dim_mult", 4) - 1)) * config.integer("patch_size", 1, 64, 1);
  const std::int64_t temporal = std::int64_t{1} << count_true(config, "temperal_downsample", 2);
  if (card.vae_spatial != spatial) {
    config.refuse("scale_factor_spatial", "is " + std::to_string(card.vae_spatial) +
                                              ", but dim_mult and patch_size make it " + std::to_string(spatial));
  }
  if (card.vae_temporal != temporal) {
    config.refuse("scale_factor_temporal", "is " + std::to_string(card.vae_temporal) +
                                               ", but temperal_downsample makes it " + std::to_string(temporal));
  }
  if (card.z_dim != card.transformer.out_channels) {
    config.refuse("z_dim", "is " + std::to_string(card.z_dim) + ", but the transformer makes " +
                               std::to_string(card.transformer.out_channels) + " channels");
  }
}

void read_text_encoder(const ModelCard& card) {
  const ConfigFile config(card.folder + "/text_encoder/config.json");
  const std::int64_t width = config.integer("d_model", 1, ConfigFile::kMaxSize);
  if (width != card.transformer.text_dim) {
    config.refuse("d_model", "is " + std::to_string(width) + ", but the transformer's text_dim is " +
                                 std::to_string(card.transformer.text_dim));
  }
}

// UniPC and DPM++ are flow-matching samplers only with these two fields; diffusers' own defaults are not.
void require_flow(const ConfigFile& config) {
  if (!config.boolean("use_flow_sigmas", false)) config.refuse("use_flow_sigmas", "must be true for a Wan model");
  if (config.text("prediction_type") != "flow_prediction") {
    config.refuse("prediction_type", "must be flow_prediction for a Wan model");
  }
}

void read_scheduler(ModelCard& card) {
  const ConfigFile config(card.folder + "/scheduler/scheduler_config.json");
  const std::string kind = config.text("_class_name");
  if (kind == "FlowMatchEulerDiscreteScheduler") {
    card.sampler = "euler";
    card.flow_shift = config.number("shift", 1e-6, 1000, 1.0);
  } else if (kind == "UniPCMultistepScheduler" || kind == "DPMSolverMultistepScheduler") {
    require_flow(config);
    card.sampler = kind == "UniPCMultistepScheduler" ? "unipc" : "dpm++";
    card.flow_shift = config.number("flow_shift", 1e-6, 1000, 1.0);
  } else {
    config.refuse("_class_name", printable(kind, 60) +
                                     " is not supported, only UniPCMultistepScheduler, DPMSolverMultistepScheduler and "
                                     "FlowMatchEulerDiscreteScheduler");
  }
}

/// in_channels tells them apart: noise alone, or noise, a mask for each frame that a latent frame stands for, and the
/// picture's latents (diffusers, pipeline_wan_i2v.py: prepare_latents).
ModelKind kind_of(const ConfigFile& index, const ModelCard& card) {
  const auto& t = card.transformer;
  if (index.boolean("expand_timesteps", false) && t.in_channels == t.out_channels) return ModelKind::ti2v;
  if (t.in_channels == t.out_channels) return ModelKind::t2v;
  if (t.in_channels == 2 * t.out_channels + card.vae_temporal) {
    return t.pos_embed_seq_len > 0 ? ModelKind::flf2v : ModelKind::i2v;
  }
  throw Error(ErrorKind::model, printable(card.folder) + "/" + card.experts.front() + "/config.json: in_channels: " +
                                    std::to_string(t.in_channels) + " is neither text-to-video (" +
                                    std::to_string(t.out_channels) + ") nor image-to-video (" +
                                    std::to_string(2 * t.out_channels + card.vae_temporal) + ")");
}

settings::Stated read_stated(const ModelCard& card) {
  const std::string path = card.folder + "/nightreel.json";
  std::error_code error;
  std::error_code no_link;
  // A link to nothing is no leave to go without.
  if (!fs::exists(path, error) && !error && !fs::is_symlink(path, no_link)) return {};
  const ConfigFile config(path);
  settings::Stated stated;
  try {
    stated = settings::read_stated(config.json(), settings::Source::checkpoint);
  } catch (const Error& e) {
    throw Error(ErrorKind::model, printable(path) + ": " + e.what());
  }
  if (stated.guidance_scale_2 && !card.two_experts()) config.refuse("guidance_scale_2", "this model has one expert");
  return stated;
}

std::uint64_t weight_bytes(const std::string& component) {
  const std::string path = is_original_component(component) ? original_weights(component).path : component;
  std::uint64_t bytes = 0;
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    bytes = fs::file_size(path, error);
    return error ? 0 : bytes;
  }
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".safetensors") continue;
    std::error_code dangling;
    const auto size = fs::file_size(it->path(), dangling);
    if (!dangling) bytes += size;
  }
  return bytes;
}

}  // namespace

std::string_view name(ModelKind kind) {
  constexpr std::array<std::string_view, 4> kNames{"t2v", "i2v", "flf2v", "ti2v"};
  return kNames.at(static_cast<std::size_t>(kind));
}

ModelCard read_model_card(const std::string& folder) {
  layout_of(folder);
  const ConfigFile index(folder + "/model_index.json");
  const std::string pipeline = index.text("_class_name");
  if (pipeline != "WanPipeline" && pipeline != "WanImageToVideoPipeline") {
    index.refuse("_class_name",
                 printable(pipeline, 60) + " is not supported, only WanPipeline and WanImageToVideoPipeline");
  }
  require_class(index, "vae", "AutoencoderKLWan");
  require_class(index, "text_encoder", "UMT5EncoderModel");
  if (class_of(index, "tokenizer").empty()) index.refuse("tokenizer", "is missing");
  if (class_of(index, "scheduler").empty()) index.refuse("scheduler", "is missing");
  ModelCard card;
  card.folder = folder;
  card.experts = experts_of(index);
  const std::string image_encoder = class_of(index, "image_encoder");
  card.has_image_encoder = !image_encoder.empty();
  if (card.has_image_encoder && image_encoder != "CLIPVisionModelWithProjection") {  // the same but for its last layer
    require_class(index, "image_encoder", "CLIPVisionModel");
  }
  if (index.has("boundary_ratio")) card.boundary_ratio = index.number("boundary_ratio", 0, 1, 0);
  read_transformers(card);
  read_vae(card);
  read_text_encoder(card);
  read_scheduler(card);
  card.kind = kind_of(index, card);
  if (const auto* model = find_published(card)) card.published = model->name;
  card.stated = read_stated(card);
  for (const auto& expert : card.experts) card.weight_bytes[expert] = weight_bytes(folder + "/" + expert);
  for (const std::string component : {"image_encoder", "vae", "text_encoder"}) {
    if (component == "image_encoder" && !card.has_image_encoder) continue;
    card.weight_bytes[component] = weight_bytes(folder + "/" + component);
  }
  return card;
}

Json to_json(const ModelCard& card) {
  const auto& t = card.transformer;
  return {{"folder", card.folder},
          {"kind", name(card.kind)},
          {"published", card.published},
          {"experts", card.experts},
          {"transformer",
           {{"num_layers", t.num_layers},
            {"num_attention_heads", t.num_attention_heads},
            {"attention_head_dim", t.attention_head_dim},
            {"ffn_dim", t.ffn_dim},
            {"freq_dim", t.freq_dim},
            {"text_dim", t.text_dim},
            {"in_channels", t.in_channels},
            {"out_channels", t.out_channels},
            {"image_dim", t.image_dim},
            {"patch_size", t.patch_size}}},
          {"z_dim", card.z_dim},
          {"vae_spatial", card.vae_spatial},
          {"vae_temporal", card.vae_temporal},
          {"height_multiple", card.height_multiple()},
          {"width_multiple", card.width_multiple()},
          {"text_len", card.text_len},
          {"boundary_ratio", card.boundary_ratio ? Json(*card.boundary_ratio) : Json(nullptr)},
          {"sampler", card.sampler},
          {"flow_shift", card.flow_shift},
          {"weight_bytes", card.weight_bytes}};
}

}  // namespace nightreel::job

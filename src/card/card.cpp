#include "nightreel/card/card.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "card/model_index.h"
#include "nightreel/base/error.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/card/published.h"

namespace nightreel::card {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using base::Json;
using base::printable;

/// What `parse` makes of the file `path`.
template <class Parse>
auto parsed(const std::string& path, const Parse& parse) {
  const CheckpointJson file = checkpoint_json(path);
  return parse(file.json, file.path);
}

/// Two parts of a checkpoint say what cannot be: `field` of the file is at fault.
[[noreturn]] void refuse_field(const std::string& path, const std::string& field, const std::string& reason) {
  throw Error(ErrorKind::model, printable(path) + ": " + field + ": " + reason);
}

std::string config_of(const Card& card, const std::string& component) {
  return checkpoint_json(card.folder + "/" + component + "/config.json").path;
}

/// Experts may differ in what is no dimension: the norms and the length of the rotary table.
TransformerConfig dimensions(TransformerConfig config) {
  const TransformerConfig defaults;
  config.rope_max_seq_len = defaults.rope_max_seq_len;
  config.cross_attn_norm = defaults.cross_attn_norm;
  config.eps = defaults.eps;
  return config;
}

void read_transformers(Card& card) {
  card.transformers.clear();
  for (const auto& expert : card.experts) {
    card.transformers.push_back(read_transformer_config(card.folder + "/" + expert));
    if (dimensions(card.transformers.back()) == dimensions(card.transformer())) continue;
    throw Error(ErrorKind::model, printable(config_of(card, expert)) + ": the two experts differ in their dimensions");
  }
}

void check_vae(const Card& card) {
  const std::int64_t made = card.transformer().out_channels;
  if (card.vae.z_dim == made) return;
  refuse_field(
      config_of(card, "vae"), "z_dim",
      "is " + std::to_string(card.vae.z_dim) + ", but the transformer makes " + std::to_string(made) + " channels");
}

void check_text_encoder(const Card& card) {
  const std::int64_t wanted = card.transformer().text_dim;
  if (card.text_encoder.d_model == wanted) return;
  refuse_field(config_of(card, "text_encoder"), "d_model",
               "is " + std::to_string(card.text_encoder.d_model) + ", but the transformer's text_dim is " +
                   std::to_string(wanted));
}

/// Of a checkpoint whose transformers look at it; another one's is not judged.
void read_image_encoder(Card& card) {
  const std::int64_t wanted = card.transformer().image_dim;
  if (wanted == 0 || !card.has_image_encoder) return;
  card.image_encoder = read_clip_vision_config(card.folder + "/image_encoder");
  card.picture = read_clip_picture_config(card.folder, *card.image_encoder);
  if (card.image_encoder->hidden_size == wanted) return;
  refuse_field(config_of(card, "image_encoder"), "hidden_size",
               "is " + std::to_string(card.image_encoder->hidden_size) + ", but the transformer's image_dim is " +
                   std::to_string(wanted));
}

/// in_channels tells them apart: noise alone, or noise, a mask for each frame that a latent frame stands for, and the
/// picture's latents (diffusers, pipeline_wan_i2v.py: prepare_latents).
ModelKind kind_of(const Card& card, bool expand_timesteps) {
  const TransformerConfig& t = card.transformer();
  const auto path = [&] { return config_of(card, card.experts.front()); };  // reads the file: for errors alone
  const std::int64_t with_picture = 2 * t.out_channels + card.vae.scale_factor_temporal;
  // diffusers counts tokens by these patches, whatever the transformer's are (pipeline_wan_i2v.py, temp_ts).
  const bool expands = t.patch_size == TransformerConfig().patch_size && t.in_channels == t.out_channels;
  if (expand_timesteps && !expands) {
    throw Error(ErrorKind::model,
                printable(path()) + ": expand_timesteps goes with patch_size [1, 2, 2] and as many channels out as in");
  }
  if (expand_timesteps) return ModelKind::ti2v;
  if (t.in_channels == t.out_channels) return ModelKind::t2v;
  if (t.in_channels == with_picture) return t.pos_embed_seq_len > 0 ? ModelKind::flf2v : ModelKind::i2v;
  refuse_field(path(), "in_channels",
               std::to_string(t.in_channels) + " is neither text-to-video (" + std::to_string(t.out_channels) +
                   ") nor image-to-video (" + std::to_string(with_picture) + ")");
}

settings::Stated read_stated(const Card& card) {
  const std::string path = card.folder + "/nightreel.json";
  std::error_code error;
  std::error_code no_link;
  // A link to nothing is no leave to go without.
  if (!fs::exists(path, error) && !error && !fs::is_symlink(path, no_link)) return {};
  const Json json = base::read_json(path);
  if (!json.is_object()) throw Error(ErrorKind::model, printable(path) + ": not a JSON object");
  settings::Stated stated;
  try {
    stated = settings::read_stated(json, settings::Source::checkpoint);
  } catch (const Error& e) {
    throw Error(ErrorKind::model, printable(path) + ": " + e.what());
  }
  if (stated.guidance_scale_2 && !card.two_experts()) {
    refuse_field(path, "guidance_scale_2", "this model has one expert");
  }
  return stated;
}

std::uint64_t bytes_in(const std::string& path) {
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

void measure_weights(Card& card) {
  std::vector<std::string> components = card.experts;
  components.insert(components.end(), {"vae", "text_encoder"});
  if (card.has_image_encoder) components.emplace_back("image_encoder");
  for (const std::string& component : components) {
    const std::string path = card.folder + "/" + component;
    card.weight_bytes[component] = bytes_in(is_original_component(path) ? original_weights(path) : path);
  }
}

}  // namespace

std::string_view name(ModelKind kind) {
  constexpr std::array<std::string_view, 4> kNames{"t2v", "i2v", "flf2v", "ti2v"};
  return kNames.at(static_cast<std::size_t>(kind));
}

TransformerConfig read_transformer_config(const std::string& component) {
  return parsed(component + "/config.json", parse_transformer_config);
}

VaeConfig read_vae_config(const std::string& component) {
  return parsed(component + "/config.json", parse_vae_config);
}

Umt5Config read_umt5_config(const std::string& component) {
  return parsed(component + "/config.json", parse_umt5_config);
}

ClipVisionConfig read_clip_vision_config(const std::string& component) {
  return parsed(component + "/config.json", parse_clip_vision_config);
}

ClipPictureConfig read_clip_picture_config(const std::string& folder, const ClipVisionConfig& encoder) {
  const std::string path = folder + "/image_processor/preprocessor_config.json";
  const ClipPictureConfig picture = parsed(path, parse_clip_picture_config);
  if (picture.crop == encoder.image_size) return picture;
  refuse_field(path, "crop_size",
               "is " + std::to_string(picture.crop) + ", but the image encoder's image_size is " +
                   std::to_string(encoder.image_size));
}

Card read(const std::string& folder) {
  layout_of(folder);
  const ModelIndex index = read_model_index(folder);
  Card card;
  card.folder = folder;
  card.experts = index.experts;
  card.has_image_encoder = index.has_image_encoder;
  card.boundary_ratio = index.boundary_ratio;
  read_transformers(card);
  card.vae = read_vae_config(folder + "/vae");
  check_vae(card);
  card.text_encoder = read_umt5_config(folder + "/text_encoder");
  check_text_encoder(card);
  card.scheduler = parsed(folder + "/scheduler/scheduler_config.json", parse_scheduler_config);
  card.kind = kind_of(card, index.expand_timesteps);
  read_image_encoder(card);
  if (const auto* model = find_published(card)) card.published = model->name;
  card.stated = read_stated(card);
  measure_weights(card);
  return card;
}

void check_supported(const Card& card) {
  if (card.transformer().image_dim == 0 || card.has_image_encoder) return;
  throw Error(ErrorKind::model, printable(card.folder) +
                                    "/model_index.json: image_encoder: is missing, but the transformer has image_dim");
}

Json to_json(const Card& card) {
  return {{"folder", card.folder},
          {"kind", name(card.kind)},
          {"published", card.published},
          {"experts", card.experts},
          {"transformer", to_json(card.transformer())},
          {"z_dim", card.vae.z_dim},
          {"vae_spatial", card.vae.scale_factor_spatial},
          {"vae_temporal", card.vae.scale_factor_temporal},
          {"height_multiple", card.height_multiple()},
          {"width_multiple", card.width_multiple()},
          {"text_len", kTextLen},
          {"boundary_ratio", card.boundary_ratio ? Json(*card.boundary_ratio) : Json(nullptr)},
          {"sampler", card.scheduler.sampler},
          {"flow_shift", card.scheduler.flow_shift},
          {"weight_bytes", card.weight_bytes}};
}

}  // namespace nightreel::card

#include "gpu/random_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/card/configs.h"
#include "nightreel/model/checkpoint.h"
#include "weights/safetensors_writer.h"

namespace nightreel::proof {

namespace {

using nlohmann::json;

constexpr const char* kDiffusion = "diffusion_pytorch_model.safetensors";
constexpr const char* kTransformers = "model.safetensors";
constexpr std::int64_t kVocabulary = 160;
constexpr std::int64_t kSquare = 28;  // of the pictures that CLIP looks at

json text_encoder(std::int64_t width, std::int64_t head, std::int64_t heads) {
  return {
      {"model_type", "umt5"}, {"vocab_size", kVocabulary}, {"d_model", width},  {"d_kv", head},
      {"num_heads", heads},   {"num_layers", 2},           {"d_ff", 2 * width}, {"feed_forward_proj", "gated-gelu"}};
}

json transformer(std::int64_t heads, std::int64_t head, std::int64_t in, std::int64_t out, std::int64_t text) {
  return {{"_class_name", "WanTransformer3DModel"},
          {"num_attention_heads", heads},
          {"attention_head_dim", head},
          {"num_layers", 2},
          {"patch_size", {1, 2, 2}},
          {"in_channels", in},
          {"out_channels", out},
          {"text_dim", text},
          {"freq_dim", 32},
          {"ffn_dim", 2 * heads * head}};
}

json vae(std::int64_t base, std::int64_t channels) {
  std::vector<double> mean;
  std::vector<double> std;
  for (std::int64_t i = 0; i < channels; ++i) {
    mean.push_back(0.3 * std::sin(static_cast<double>(i)));
    std.push_back(1 + 0.4 * std::cos(static_cast<double>(i)));
  }
  return {{"_class_name", "AutoencoderKLWan"},
          {"base_dim", base},
          {"dim_mult", {1, 2, 2, 2}},
          {"z_dim", channels},
          {"num_res_blocks", 1},
          {"latents_mean", mean},
          {"latents_std", std}};
}

json vae_22(std::int64_t channels) {
  json config = vae(16, channels);
  config.update({{"decoder_base_dim", 24},
                 {"dim_mult", {1, 2, 4, 4}},
                 {"is_residual", true},
                 {"patch_size", 2},
                 {"in_channels", 12},
                 {"out_channels", 12},
                 {"scale_factor_spatial", 16}});
  return config;
}

json clip(std::int64_t width, std::int64_t heads) {
  return {{"model_type", "clip_vision_model"},
          {"hidden_size", width},
          {"num_attention_heads", heads},
          {"num_hidden_layers", 3},
          {"image_size", kSquare},
          {"patch_size", 14},
          {"intermediate_size", 2 * width},
          {"hidden_act", "gelu"}};
}

std::vector<RandomModel> make_models() {
  RandomModel t2v{"t2v",     "WanPipeline", "BF16", true, false, text_encoder(64, 64, 2), transformer(3, 128, 4, 4, 64),
                  vae(8, 4), nullptr};
  RandomModel i2v{"i2v",
                  "WanImageToVideoPipeline",
                  "BF16",
                  true,
                  false,
                  text_encoder(24, 8, 3),
                  transformer(2, 16, 12, 4, 24),
                  vae(8, 4),
                  nullptr};
  RandomModel ti2v{"ti2v",    "WanPipeline", "F32", false, true, text_encoder(24, 8, 3), transformer(2, 128, 8, 8, 24),
                   vae_22(8), nullptr};
  RandomModel with_clip{"clip",
                        "WanImageToVideoPipeline",
                        "F32",
                        false,
                        false,
                        text_encoder(24, 8, 3),
                        transformer(2, 16, 12, 4, 24),
                        vae(8, 4),
                        clip(160, 2)};
  with_clip.transformer.update({{"image_dim", 160}, {"added_kv_proj_dim", 32}});
  return {t2v, i2v, ti2v, with_clip};
}

bool has(const std::string& name, const char* part) {
  return name.find(part) != std::string::npos;
}

bool ends_with(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

/// No norm is one, no bias and no table zero: they hide no mistake. Matrices keep the size of what goes through them.
at::Tensor draw(const std::string& name, const std::vector<std::int64_t>& shape) {
  const at::Tensor noise = at::randn(shape);
  if (ends_with(name, "bias")) return noise * 0.1;
  if (has(name, "norm")) return noise * 0.2 + 1;
  if (ends_with(name, "scale_shift_table")) return noise * 0.5;
  for (const char* table : {"shared", "relative_attention_bias", "class_embedding", "position_embedding"}) {
    if (has(name, table)) return noise;
  }
  const double fan_in = static_cast<double>(noise.numel()) / static_cast<double>(shape[0]);
  const double more = ends_with(name, "SelfAttention.q.weight") ? 0.25 : 1;  // UMT5 does not scale its scores
  return noise * (more / std::sqrt(fan_in));
}

void write_tensors(const std::string& path, const std::map<std::string, at::Tensor>& tensors, const char* stored) {
  const at::ScalarType dtype = std::string(stored) == "F32" ? at::kFloat : at::kBFloat16;
  std::vector<weights::NewTensor> list;
  for (const auto& [name, tensor] : tensors)
    list.push_back({name, tensorfile::find_stored_type(stored).value(), tensor.sizes().vec()});
  weights::SafetensorsWriter writer(path, std::move(list));
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = tensor.to(dtype).contiguous();
    writer.write(name, 0, dense.const_data_ptr(), dense.nbytes());
  }
  writer.finish();
}

void write_json(const std::string& path, const json& value) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  base::replace_file(path, value.dump(2) + "\n");
}

/// Draws the tensors that the component's module wants.
void write_component(const std::string& folder, const char* file, const json& config, const RandomModel& model,
                     const weights::TensorList& list) {
  write_json(folder + "/config.json", config);
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const weights::ListedTensor& tensor : list.tensors()) {
    if (tensor.use != weights::Use::stray) shapes[tensor.name] = tensor.shape;
  }
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : shapes) tensors[name] = draw(name, shape);
  write_tensors(folder + "/" + file, tensors, model.stored);
}

json index_of(const RandomModel& model) {
  const auto component = [](const char* library, const char* name) { return json::array({library, name}); };
  json index{{"_class_name", model.pipeline},
             {"expand_timesteps", model.expand_timesteps},
             {"scheduler", component("diffusers", "UniPCMultistepScheduler")},
             {"text_encoder", component("transformers", "UMT5EncoderModel")},
             {"tokenizer", component("transformers", "T5TokenizerFast")},
             {"transformer", component("diffusers", "WanTransformer3DModel")},
             {"vae", component("diffusers", "AutoencoderKLWan")}};
  if (!model.image_encoder.is_null()) index["image_encoder"] = component("transformers", "CLIPVisionModel");
  if (model.two_experts) index.update({{"transformer_2", index["transformer"]}, {"boundary_ratio", 0.8}});
  return index;
}

void write_model(const RandomModel& model, const std::string& folder) {
  write_json(folder + "/model_index.json", index_of(model));
  write_json(folder + "/scheduler/scheduler_config.json", {{"_class_name", "UniPCMultistepScheduler"},
                                                           {"prediction_type", "flow_prediction"},
                                                           {"use_flow_sigmas", true},
                                                           {"flow_shift", 3.0}});
  write_component(folder + "/text_encoder", kTransformers, model.text_encoder, model,
                  model::tensors_of(card::parse_umt5_config(model.text_encoder, folder)));
  write_component(folder + "/vae", kDiffusion, model.vae, model,
                  model::tensors_of(card::parse_vae_config(model.vae, folder)));
  for (const char* expert : {"/transformer", "/transformer_2"}) {
    if (ends_with(expert, "_2") && !model.two_experts) continue;
    write_component(folder + expert, kDiffusion, model.transformer, model,
                    model::tensors_of(card::parse_transformer_config(model.transformer, folder)));
  }
  if (model.image_encoder.is_null()) return;
  write_json(folder + "/image_processor/preprocessor_config.json",
             {{"size", {{"shortest_edge", kSquare}}}, {"crop_size", {{"height", kSquare}, {"width", kSquare}}}});
  write_component(folder + "/image_encoder", kTransformers, model.image_encoder, model,
                  model::tensors_of(card::parse_clip_vision_config(model.image_encoder, folder)));
}

}  // namespace

const std::vector<RandomModel>& random_models() {
  static const std::vector<RandomModel> models = make_models();
  return models;
}

void write_random_models(const std::string& folder) {
  at::manual_seed(11);
  for (const RandomModel& model : random_models()) write_model(model, folder + "/" + model.name);
}

void write_random_lora(const std::string& path, const std::string& folder) {
  constexpr std::int64_t kRank = 4;
  const auto config = card::parse_transformer_config(base::read_json(folder + "/config.json"), folder);
  const std::int64_t width = config.width();
  std::map<std::string, at::Tensor> tensors;
  for (const char* layer : {"attn1.to_q", "attn1.to_v", "attn1.to_out.0", "attn2.to_k"}) {
    const std::string name = std::string("transformer.blocks.0.") + layer;
    tensors[name + ".lora_A.weight"] = at::randn({kRank, width}) / std::sqrt(static_cast<double>(width));
    tensors[name + ".lora_B.weight"] = at::randn({width, kRank}) / std::sqrt(static_cast<double>(kRank));
  }
  write_tensors(path, tensors, "F32");
}

}  // namespace nightreel::proof

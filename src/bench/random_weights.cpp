#include "nightreel/bench/random_weights.h"

#include <fcntl.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/base/random.h"
#include "nightreel/card/published.h"
#include "nightreel/model/checkpoint.h"

namespace nightreel::bench {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kSmall = 0.02;  // standard deviation of biases and tables
constexpr const char* kEmbedding = "shared.weight";
constexpr const char* kDiffusionFile = "diffusion_pytorch_model.safetensors";
constexpr const char* kEncoderFile = "model.safetensors";

struct Named {
  const char* name;
  const char* published;
};
constexpr std::array<Named, 3> kNames{
    {{"t2v-a14b", "Wan2.2-T2V-A14B"}, {"i2v-a14b", "Wan2.2-I2V-A14B"}, {"ti2v-5b", "Wan2.2-TI2V-5B"}}};

// What the published models share is not in the table of card/published.h.
json transformer_config(const card::PublishedModel& model) {
  return {{"_class_name", "WanTransformer3DModel"},
          {"attention_head_dim", 128},
          {"cross_attn_norm", true},
          {"eps", 1e-6},
          {"ffn_dim", model.ffn_dim},
          {"freq_dim", 256},
          {"in_channels", model.in_channels},
          {"num_attention_heads", model.num_attention_heads},
          {"num_layers", model.num_layers},
          {"out_channels", model.z_dim},
          {"patch_size", {1, 2, 2}},
          {"qk_norm", "rms_norm_across_heads"},
          {"rope_max_seq_len", 1024},
          {"text_dim", 4096}};
}

// Wan 2.1's VAE is diffusers' default; Wan 2.2's is told by its latents. Its statistics, which scale the latents, are
// those of latents that are normally distributed already.
json vae_config(const card::PublishedModel& model) {
  json config{{"_class_name", "AutoencoderKLWan"}};
  if (model.z_dim == 16) return config;
  config.update({{"base_dim", 160},
                 {"decoder_base_dim", 256},
                 {"in_channels", 12},
                 {"is_residual", true},
                 {"latents_mean", std::vector<double>(static_cast<std::size_t>(model.z_dim), 0.0)},
                 {"latents_std", std::vector<double>(static_cast<std::size_t>(model.z_dim), 1.0)},
                 {"out_channels", 12},
                 {"patch_size", 2},
                 {"scale_factor_spatial", model.vae_spatial},
                 {"z_dim", model.z_dim}});
  return config;
}

json text_encoder_config() {
  return {{"d_ff", 10240},
          {"d_kv", 64},
          {"d_model", 4096},
          {"dense_act_fn", "gelu_new"},
          {"feed_forward_proj", "gated-gelu"},
          {"is_decoder", false},
          {"is_gated_act", true},
          {"model_type", "umt5"},
          {"num_heads", 64},
          {"num_layers", 24},
          {"vocab_size", 256384}};
}

json index_config(const card::PublishedModel& model) {
  const bool picture = model.in_channels != model.z_dim;
  const auto component = [](const char* library, const char* name) { return json::array({library, name}); };
  json index{{"_class_name", picture ? "WanImageToVideoPipeline" : "WanPipeline"},
             {"expand_timesteps", model.kind == card::ModelKind::ti2v},
             {"scheduler", component("diffusers", "UniPCMultistepScheduler")},
             {"text_encoder", component("transformers", "UMT5EncoderModel")},
             {"tokenizer", component("transformers", "T5TokenizerFast")},
             {"transformer", component("diffusers", "WanTransformer3DModel")},
             {"vae", component("diffusers", "AutoencoderKLWan")}};
  if (model.boundary_ratio) index["boundary_ratio"] = *model.boundary_ratio;
  if (model.experts == 2) index["transformer_2"] = index["transformer"];
  return index;
}

json scheduler_config(const card::PublishedModel& model) {
  return {{"_class_name", "UniPCMultistepScheduler"},
          {"flow_shift", model.flow_shift},
          {"num_train_timesteps", 1000},
          {"prediction_type", "flow_prediction"},
          {"use_flow_sigmas", true}};
}

void write_config(const std::string& folder, const char* file, const json& config) {
  fs::create_directories(folder);
  std::ofstream stream(folder + "/" + file);
  stream << config.dump(1) << '\n';
  if (!stream.flush()) base::throw_errno("cannot write", folder + "/" + file);
}

/// A safetensors file of these tensors, whose data is a hole.
void write_sparse(const std::string& path, const std::map<std::string, std::vector<std::int64_t>>& shapes,
                  at::ScalarType dtype) {
  json header = json::object();
  std::uint64_t end = 0;
  for (const auto& [name, shape] : shapes) {
    const std::uint64_t begin = end;
    std::uint64_t bytes = c10::elementSize(dtype);
    for (const std::int64_t size : shape) bytes *= static_cast<std::uint64_t>(size);
    end += bytes;
    header[name] = {{"dtype", dtype == at::kFloat ? "F32" : "BF16"}, {"shape", shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();  // little-endian, like every machine that LibTorch runs on
  std::string head(sizeof length, '\0');
  std::memcpy(head.data(), &length, sizeof length);
  head += text;
  const base::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const bool written = file && ::write(file.get(), head.data(), head.size()) == static_cast<ssize_t>(head.size()) &&
                       ::ftruncate(file.get(), static_cast<off_t>(head.size() + end)) == 0;
  if (!written) base::throw_errno("cannot write", path);
}

/// The tensors of `list` that every such file has.
void write_component(const std::string& folder, const char* file, at::ScalarType dtype,
                     const weights::TensorList& list) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const weights::ListedTensor& tensor : list.tensors()) {
    if (tensor.use != weights::Use::stray) shapes.emplace(tensor.name, tensor.shape);
  }
  write_sparse(folder + "/" + file, shapes, dtype);
}

bool ends(const std::string& name, const std::string& part) {
  return name.size() >= part.size() && name.compare(name.size() - part.size(), part.size(), part) == 0;
}

bool is_norm(const std::string& name) {
  return ends(name, ".gamma") || (name.find("norm") != std::string::npos && ends(name, ".weight"));
}

double deviation_of(const std::string& name, const std::vector<std::int64_t>& shape) {
  const bool table = ends(name, "scale_shift_table") || ends(name, "relative_attention_bias.weight");
  if (table || shape.size() < 2) return kSmall;
  std::int64_t fan_in = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) fan_in *= shape[i];
  return 1 / std::sqrt(static_cast<double>(fan_in));
}

std::uint64_t seed_of(const std::string& component, const std::string& name) {
  const auto digest = base::sha256(component + "/" + name);
  std::uint64_t seed = 0;
  std::memcpy(&seed, digest.data(), sizeof seed);
  return seed >> 1U;  // some generators take signed ones
}

}  // namespace

ScratchFolder::ScratchFolder() : path_(fs::temp_directory_path() / ("nightreel-bench-" + base::random_hex(8))) {
  fs::create_directory(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<std::string> random_names() {
  std::vector<std::string> names;
  for (const Named& known : kNames) names.emplace_back(known.name);
  return names;
}

void write_published_configs(const std::string& name, const std::string& dir) {
  const auto* known = std::find_if(kNames.begin(), kNames.end(), [&](const Named& one) { return one.name == name; });
  if (known == kNames.end()) {
    throw base::Error(base::ErrorKind::usage, "no published model " + base::printable(name));
  }
  const card::PublishedModel& model = *card::find_published(std::string_view(known->published));
  write_config(dir, "model_index.json", index_config(model));
  write_config(dir + "/scheduler", "scheduler_config.json", scheduler_config(model));
  write_config(dir + "/transformer", "config.json", transformer_config(model));
  if (model.experts == 2) write_config(dir + "/transformer_2", "config.json", transformer_config(model));
  write_config(dir + "/vae", "config.json", vae_config(model));
  write_config(dir + "/text_encoder", "config.json", text_encoder_config());
}

void write_sparse_weights(const std::string& dir, at::ScalarType dtype) {
  const weights::ListOf lists = model::lists_of(dir);
  for (const char* name : {"transformer", "transformer_2", "vae", "text_encoder"}) {
    const std::string folder = dir + "/" + name;
    const std::string component = name;
    if (!fs::exists(folder)) continue;
    const char* file = component == "text_encoder" ? kEncoderFile : kDiffusionFile;
    write_component(folder, file, component == "vae" ? at::kFloat : dtype, lists(component));
  }
}

at::Tensor RandomWeights::read(const std::string& component, const weights::WeightMap& weights,
                               const std::string& name) {
  const weights::StoredTensor& stored = weights.stored(name);
  const auto options = at::TensorOptions(stored.type == weights::StoredType::f32 ? at::kFloat : at::kBFloat16)
                           .device(device_)
                           .requires_grad(false);
  if (is_norm(name)) return at::ones(stored.shape, options);
  at::Generator generator = at::globalContext().defaultGenerator(device_).clone();
  generator.set_current_seed(seed_of(component, name));
  const at::Tensor numbers = at::empty(stored.shape, options).normal_(0, deviation_of(name, stored.shape), generator);
  return name == kEmbedding ? numbers.cpu() : numbers;
}

}  // namespace nightreel::bench

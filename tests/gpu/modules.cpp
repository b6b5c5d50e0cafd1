// Every module of nightreel/model, from the checkpoints of this repository and from random ones.
//
// C channels, F frames, Y rows, X columns of the latents; H, W of the pixels.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <memory>
#include <tuple>

#include "gpu/check.h"
#include "gpu/random_model.h"
#include "nightreel/base/json.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/lora.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/weights/weights.h"

namespace nightreel::proof {

namespace {

constexpr double kModuleLimit = 1e-4;  // of a module in float32
constexpr double kTf32Limit = 1e-2;    // 10 bits of mantissa, some dozen layers one after the other

struct LoadedModel {
  model::Transformer transformer;
  model::LoraMerger loras;

  LoadedModel(const card::TransformerConfig& config, weights::WeightMap weights, at::Device device,
              at::ScalarType dtype, bool fp8)
      : transformer(config, weights, {device, dtype, fp8}), loras(transformer, std::move(weights)) {}
};

std::unique_ptr<LoadedModel> load_one(const std::string& folder, at::Device device, at::ScalarType dtype, bool fp8) {
  return std::make_unique<LoadedModel>(card::parse_transformer_config(base::read_json(folder + "/config.json"), folder),
                                       weights::WeightMap::open(folder), device, dtype, fp8);
}

std::vector<std::int64_t> latents_of(const card::TransformerConfig& config) {
  return {1, config.in_channels, 3, 6, 10};
}

at::Tensor velocity_of(const std::string& folder, at::Device device, at::ScalarType dtype, bool fp8) {
  const c10::InferenceMode inference;
  const auto loaded = load_one(folder, device, dtype, fp8);
  const auto& config = loaded->transformer.config();
  at::manual_seed(3);
  std::vector<at::Tensor> velocities;
  for (const double timestep : {950.0, 500.0, 50.0}) {  // several: the largest of few numbers says little
    const at::Tensor latents = at::randn(latents_of(config));
    const at::Tensor text = at::randn({1, 7, config.text_dim});
    const at::Tensor image = config.image_dim > 0 ? at::randn({1, 5, config.image_dim}) : at::Tensor();
    const auto prepared = loaded->transformer.prepare_text(text.to(device), /*keep_keys=*/true, image);
    velocities.push_back(
        loaded->transformer.forward(latents.to(device), at::full({1}, timestep), prepared, at::zeros({1})));
  }
  return at::cat(velocities);
}

at::Tensor text_of_prompt(const std::string& folder, std::int64_t count, at::Device device, at::ScalarType dtype) {
  const c10::InferenceMode inference;
  const auto encoder = model::Umt5Encoder::load(folder, device, dtype);
  std::vector<at::Tensor> hidden;
  for (std::int64_t prompt = 0; prompt < 6; ++prompt) {
    std::vector<std::int64_t> tokens;
    for (std::int64_t i = 0; i < count; ++i) tokens.push_back(i + 1 == count ? 1 : 2 + (37 * i + 11 * prompt) % 150);
    hidden.push_back(encoder.encode(tokens));
  }
  return at::cat(hidden);
}

at::Tensor vectors_of_picture(const std::string& dir, at::Device device, at::ScalarType dtype) {
  const c10::InferenceMode inference;
  const auto clip = model::ClipVision::load(dir, device, dtype);
  at::manual_seed(4);
  return clip.encode(at::randint(0, 256, {2, clip.picture().crop, clip.picture().crop, 3}).to(at::kByte));
}

enum class Way { decode, encode, decode_in_tiles };

at::Tensor through_vae(const std::string& folder, Way way, at::Device device) {
  const c10::InferenceMode inference;
  const auto vae = model::Vae::load(folder, device, at::kFloat);
  const std::int64_t scale = vae.config().scale_factor_spatial;
  at::manual_seed(5);
  if (way == Way::encode) return vae.encode(at::rand({1, 3, 5, 3 * scale, 5 * scale}).mul(2).sub(1).to(device));
  const at::Tensor latents = at::randn({1, vae.config().z_dim, 3, 6, 7});
  if (way == Way::decode) return vae.decode(latents.to(device));
  return vae.decode_tiled(latents.to(device), {3 * scale, 4 * scale, 2 * scale, 2 * scale}, at::kFloat);
}

void add_transformer(std::vector<Check>& checks, const std::string& name, const std::string& dir, bool quick) {
  const std::string folder = dir + "/transformer";
  const std::string size = name + " 3xCx3x6x10";
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    checks.push_back({"transformer", name_of(dtype), size, quick, [=] {
                        return compare(dtype, kModuleLimit, [&](at::Device device, at::ScalarType in) {
                          return velocity_of(folder, device, in, false);
                        });
                      }});
  }
  // A weight's rounding may fall the other way on a GPU, where the scale is off by its last bit: rare, but a whole
  // step.
  checks.push_back({"transformer-fp8", "f32", size, quick, [=] {
                      return std::vector{largest(velocity_of(folder, kGpu, at::kFloat, true),
                                                 velocity_of(folder, at::kCPU, at::kFloat, true), 5e-3)};
                    }});
  checks.push_back({"transformer-fp8", "bf16", size, quick, [=] {
                      return as_near_in_fp8(velocity_of(folder, kGpu, at::kBFloat16, true),
                                            velocity_of(folder, at::kCPU, at::kBFloat16, true),
                                            velocity_of(folder, at::kCPU, at::kFloat, false));
                    }});
}

void add_umt5(std::vector<Check>& checks, const std::string& name, const std::string& dir, bool quick) {
  for (const std::int64_t count : {5, 77}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      checks.push_back(
          {"umt5", name_of(dtype), name + " " + std::to_string(count) + " tokens x6", quick && count == 5, [=] {
             return compare(dtype, kModuleLimit, [&](at::Device device, at::ScalarType in) {
               return text_of_prompt(dir + "/text_encoder", count, device, in);
             });
           }});
    }
  }
}

/// In float32 alone: so the product computes it.
void add_vae(std::vector<Check>& checks, const std::string& name, const std::string& dir, bool quick) {
  const std::vector<std::pair<const char*, Way>> ways{
      {"vae-decode", Way::decode}, {"vae-encode", Way::encode}, {"vae-decode-tiled", Way::decode_in_tiles}};
  for (const auto& [check, way] : ways) {
    for (const bool tf32 : {false, true}) {
      const std::string size = name + (way == Way::encode ? " 1x3x5x(3x5 cells)" : " 1xCx3x6x7");
      checks.push_back({check, tf32 ? "tf32" : "f32", size, quick && way != Way::decode_in_tiles,
                        [folder = dir + "/vae", way = way, tf32] {
                          allow_tf32(tf32);
                          const at::Tensor there = through_vae(folder, way, kGpu);
                          const at::Tensor here = through_vae(folder, way, at::kCPU);
                          return std::vector{largest(there, here, tf32 ? kTf32Limit : kModuleLimit)};
                        }});
    }
  }
}

void add_clip(std::vector<Check>& checks, const std::string& name, const std::string& dir) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    checks.push_back({"clip", name_of(dtype), name + " 2 pictures", true, [=] {
                        return compare(dtype, kModuleLimit, [&](at::Device device, at::ScalarType in) {
                          return vectors_of_picture(dir, device, in);
                        });
                      }});
  }
}

at::Tensor weights_in_a_row(model::Transformer& transformer) {
  std::vector<at::Tensor> values;
  for (const model::Parameter& weight : transformer.parameters()) {
    if (weight.tensor == nullptr) continue;
    const at::Tensor numbers =
        weight.fp8 ? ops::dequantise({*weight.tensor, weight.linear->scale}) : weight.tensor->to(at::kFloat);
    values.push_back(numbers.cpu().flatten());
  }
  return at::cat(values);
}

/// Weights with a LoRA merged, here and there. In few bits a sum that falls between two numbers may be rounded the
/// other way: rare, so that the mean says whether the sums are the same. Without the LoRA each has the checkpoint's
/// bits again.
std::vector<Measured> merged_alike(const std::string& folder, const std::string& lora, at::ScalarType dtype, bool fp8) {
  const c10::InferenceMode inference;
  const std::vector<model::LoraUse> uses{{model::LoraFile::open(lora), 0.8}};
  const auto here = load_one(folder, at::kCPU, dtype, fp8);
  const auto there = load_one(folder, kGpu, dtype, fp8);
  const at::Tensor plain = weights_in_a_row(there->transformer);
  here->loras.merge(uses);
  there->loras.merge(uses);
  const at::Tensor want = weights_in_a_row(here->transformer);
  const at::Tensor made = weights_in_a_row(there->transformer);
  const double changed = (want - plain).abs().mean().item<double>();
  there->loras.merge({});
  const double left = (weights_in_a_row(there->transformer) - plain).abs().max().item<double>();
  const double error = (made - want).abs().mean().item<double>();
  return {{"mean, of what the LoRA changes", error / changed, dtype == at::kFloat && !fp8 ? 1e-5 : 1e-2},
          {"what is left when it is gone", left, 0}};
}

void add_lora(std::vector<Check>& checks, const std::string& name, const std::string& dir, const std::string& lora) {
  for (const auto& [text, dtype, fp8] : {std::tuple{"f32", at::kFloat, false}, std::tuple{"bf16", at::kBFloat16, false},
                                         std::tuple{"fp8", at::kBFloat16, true}}) {
    checks.push_back({"lora-weights", text, name + " rank 4", true,
                      [=, in = dtype, held = fp8] { return merged_alike(dir + "/transformer", lora, in, held); }});
  }
}

}  // namespace

void add_modules(std::vector<Check>& checks, const Places& places) {
  for (const char* name : {"shapes", "shapes-i2v"}) {
    const std::string dir = places.models + "/" + name;
    add_transformer(checks, name, dir, false);
    if (std::string(name) != "shapes") continue;  // the other parts are the same files
    add_umt5(checks, name, dir, false);
    add_vae(checks, name, dir, false);
  }
  for (const RandomModel& random : random_models()) {
    const std::string dir = places.random + "/" + random.name;
    const bool quick = random.name == "t2v" || random.name == "ti2v";
    add_transformer(checks, random.name, dir, quick || random.name == "clip");
    add_umt5(checks, random.name, dir, random.name == "t2v");
    add_vae(checks, random.name, dir, quick);
    if (!random.image_encoder.is_null()) add_clip(checks, random.name, dir);
    if (random.name == "t2v") add_lora(checks, random.name, dir, places.random + "/lora-t2v.safetensors");
  }
}

}  // namespace nightreel::proof

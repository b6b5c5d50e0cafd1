// Every module on another device than the CPU, and in bfloat16: the checked device finds tensors left behind.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/base/json.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/lora.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/weights/weights.h"
#include "support/checked_device.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;

namespace {

// "pixels" has cross_attn_norm false and patches of one, "experts" shards of bfloat16.
const std::vector<std::string> kCases{"plain", "experts", "pixels"};

at::Tensor encode_text(const std::string& name, at::Device device, at::ScalarType dtype) {
  const auto encoder = model::Umt5Encoder::load(test::golden_path(name + "/model/text_encoder"), device, dtype);
  return encoder.encode({5, 17, 99, 3, 1});
}

at::Tensor velocity(const std::string& name, at::Device device, at::ScalarType dtype) {
  const std::string folder = test::golden_path(name + "/model/transformer");
  weights::WeightMap weights = weights::WeightMap::open(folder);
  const model::Transformer transformer(card::parse_transformer_config(base::read_json(folder + "/config.json"), folder),
                                       weights, {device, dtype});
  weights.expect_all_taken();
  const Golden golden(name + "/transformer");
  const at::Tensor image = golden.has("image_0") ? golden.tensor("image_0") : at::Tensor();
  return transformer.forward(golden.tensor("latents_0").to(device), golden.tensor("timestep_0"),
                             transformer.prepare_text(golden.tensor("text_0").to(device), /*keep_keys=*/true, image),
                             at::zeros({1}));
}

at::Tensor encode_picture(const std::string& name, at::Device device, at::ScalarType dtype) {
  const auto clip = model::ClipVision::load(test::golden_path(name + "/model"), device, dtype);
  return clip.encode(Golden(name + "/image_encoder").tensor("pictures").to(at::kByte));
}

at::Tensor decode(const std::string& name, at::Device device, at::ScalarType dtype) {
  const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), device, dtype);
  return vae.decode(Golden(name + "/vae").tensor("latents_0").to(device));
}

at::Tensor encode_frames(const std::string& name, at::Device device, at::ScalarType dtype) {
  const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), device, dtype);
  return vae.encode(Golden(name + "/vae").tensor("frames_0").to(device));
}

at::Tensor decode_tiled(const std::string& name, at::Device device, at::ScalarType dtype) {
  const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), device, dtype);
  const std::int64_t scale = vae.config().scale_factor_spatial;
  const model::Tiling tiling{3 * scale, 4 * scale, 2 * scale, 2 * scale};
  return vae.decode_tiled(Golden(name + "/vae").tensor("latents_0").to(device), tiling, at::kFloat);
}

struct Module {
  const char* name;
  at::Tensor (*run)(const std::string&, at::Device, at::ScalarType);
  double bfloat16_tolerance;
};
// bfloat16 has 8 bits: 4e-3 a rounding. The VAE norms and re-norms a few channels at a time, which adds up.
constexpr Module kModules[]{{"text encoder", encode_text, 0.03},
                            {"transformer", velocity, 0.03},
                            {"VAE decoder", decode, 0.12},
                            {"VAE encoder", encode_frames, 0.03}};

}  // namespace

TEST_CASE("the checked device refuses tensors of two devices and computes what the CPU does") {
  const at::Device device = test::checked_device();
  const at::Tensor here = at::rand({3, 4});
  const at::Tensor there = here.to(device);
  CHECK(at::equal((there + there).to(at::kCPU), here + here));
  CHECK_NOTHROW(there * at::scalar_tensor(2.0));  // a number
  CHECK_THROWS_AS(there + here, c10::Error);
  CHECK_THROWS_AS(at::cat({there, here}), c10::Error);
  CHECK_THROWS_AS(at::linear(there, here), c10::Error);
  CHECK_THROWS_AS(at::embedding(there, at::zeros({2}, at::kLong)), c10::Error);
  CHECK_THROWS_AS(at::conv3d(at::rand({1, 2, 3, 4, 4}, device), at::rand({2, 2, 1, 1, 1})), c10::Error);
}

TEST_CASE("every module gives the CPU's numbers on another device, from tensors of that device alone") {
  const at::Device device = test::checked_device();
  for (const std::string& name : kCases) {
    for (const Module& module : kModules) {
      CAPTURE(name);
      CAPTURE(module.name);
      const at::Tensor there = module.run(name, device, at::kFloat);
      const bool is_there = there.device() == device;
      CHECK(is_there);
      CHECK(test::relative_error(there, module.run(name, at::kCPU, at::kFloat)) < 1e-5);
    }
    CHECK(test::relative_error(decode_tiled(name, device, at::kFloat), decode_tiled(name, at::kCPU, at::kFloat)) <
          1e-5);
  }
}

TEST_CASE("the image encoder, the transformer that it tells and the Wan 2.2 VAE do so too") {
  const at::Device device = test::checked_device();
  struct Case {
    const char* name;
    Module module;
  };
  for (const Case& c :
       {Case{"clip", {"image encoder", encode_picture, 0.03}}, Case{"clip", {"transformer", velocity, 0.03}},
        Case{"first_last", {"transformer", velocity, 0.03}}, Case{"ti2v", {"VAE decoder", decode, 0.12}},
        Case{"ti2v", {"VAE encoder", encode_frames, 0.05}}}) {
    CAPTURE(c.name);
    CAPTURE(c.module.name);
    const at::Tensor here = c.module.run(c.name, at::kCPU, at::kFloat);
    CHECK(test::relative_error(c.module.run(c.name, device, at::kFloat), here) < 1e-5);
    const std::string what = std::string(c.name) + " bfloat16 " + c.module.name;
    CHECK(test::reported_error(what, c.module.run(c.name, at::kCPU, at::kBFloat16), here) <
          c.module.bfloat16_tolerance);
  }
}

TEST_CASE("every module runs in bfloat16 and stays near float32") {
  for (const std::string& name : kCases) {
    for (const Module& module : kModules) {
      CAPTURE(name);
      CAPTURE(module.name);
      const at::Tensor narrow = module.run(name, at::kCPU, at::kBFloat16);
      const bool is_narrow = narrow.scalar_type() == at::kBFloat16;
      CHECK(is_narrow);
      CHECK(test::reported_error(name + " bfloat16 " + module.name, narrow, module.run(name, at::kCPU, at::kFloat)) <
            module.bfloat16_tolerance);
    }
  }
}

TEST_CASE("LoRAs are merged on the device that computes, also while the weights wait on the host") {
  const at::Device device = test::checked_device();
  const std::string folder = test::golden_path("plain/model/transformer");
  const auto config = card::parse_transformer_config(base::read_json(folder + "/config.json"), folder);
  const std::vector<model::LoraUse> uses{
      {model::LoraFile::open(test::golden_path("plain/loras/comfy.safetensors")), 0.7},
      {model::LoraFile::open(test::golden_path("plain/loras/differences.safetensors")), 1}};
  const auto merged = [&](at::Device computes, at::Device waits, bool fp8) {
    weights::WeightMap weights = weights::WeightMap::open(folder);
    model::Transformer transformer(config, weights, {computes, at::kBFloat16, fp8});
    for (const model::Parameter& weight : transformer.parameters()) {
      model::each_tensor(weight, [&](at::Tensor& tensor) { tensor = tensor.to(waits); });
    }
    model::LoraMerger(transformer, std::move(weights)).merge(uses);
    std::vector<at::Tensor> values;
    for (const model::Parameter& weight : transformer.parameters()) {
      model::each_tensor(weight, [&](const at::Tensor& tensor) {
        const bool stayed = tensor.device() == waits;
        CHECK(stayed);
        values.push_back(tensor.cpu().to(at::kFloat).flatten());
      });
    }
    return at::cat(values);
  };
  for (const bool fp8 : {false, true}) {
    CAPTURE(fp8);
    const at::Tensor here = merged(at::kCPU, at::kCPU, fp8);
    CHECK(at::equal(merged(device, device, fp8), here));
    CHECK(at::equal(merged(device, at::kCPU, fp8), here));
  }
}

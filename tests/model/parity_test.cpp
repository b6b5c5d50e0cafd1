// Every module against diffusers and transformers, tensor by tensor, on random checkpoints of several shapes.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/base/json.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/weights/weights.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;

namespace {

constexpr double kTolerance = 1e-5;

std::vector<std::int64_t> as_ids(const at::Tensor& ids_S, std::int64_t length) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < length; ++i) ids.push_back(ids_S[i].item<std::int64_t>());
  return ids;
}

model::Transformer load_transformer(const std::string& folder) {
  const std::string path = folder + "/config.json";
  weights::WeightMap weights = weights::WeightMap::open(folder);
  model::Transformer transformer(card::parse_transformer_config(base::read_json(path), path), weights,
                                 {at::kCPU, at::kFloat});
  weights.expect_all_taken();
  return transformer;
}

}  // namespace

TEST_CASE("at least six shapes of checkpoints are compared") {
  CHECK(test::golden_cases("text_encoder.safetensors").size() >= 6);
  CHECK(test::golden_cases("transformer.safetensors").size() >= 6);
  CHECK(test::golden_cases("vae.safetensors").size() >= 6);
}

TEST_CASE("the text encoder gives transformers' hidden states for prompts of any length") {
  for (const std::string& name : test::golden_cases("text_encoder.safetensors")) {
    const Golden golden(name + "/text_encoder");
    const auto encoder =
        model::Umt5Encoder::load(test::golden_path(name + "/model/text_encoder"), at::kCPU, at::kFloat);
    CHECK(golden.has("ids_2"));
    for (int n = 0; golden.has("ids_" + std::to_string(n)); ++n) {
      const std::string suffix = "_" + std::to_string(n);
      const at::Tensor lengths_B = golden.tensor("length" + suffix);
      for (std::int64_t b = 0; b < lengths_B.numel(); ++b) {
        const auto length = lengths_B[b].item<std::int64_t>();
        const at::Tensor expected_1SD = golden.tensor("hidden" + suffix)[b].slice(0, 0, length).unsqueeze(0);
        const at::Tensor hidden_1SD = encoder.encode(as_ids(golden.tensor("ids" + suffix)[b], length));
        CHECK(test::reported_error(name + " text_encoder" + suffix, hidden_1SD, expected_1SD) < kTolerance);
      }
    }
  }
}

TEST_CASE("the image encoder gives transformers' hidden states") {
  const auto cases = test::golden_cases("image_encoder.safetensors");
  CHECK(cases.size() >= 2);
  for (const std::string& name : cases) {
    const Golden golden(name + "/image_encoder");
    const auto clip = model::ClipVision::load(test::golden_path(name + "/model"), at::kCPU, at::kFloat);
    const at::Tensor hidden_NTD = clip.encode(golden.tensor("pictures").to(at::kByte));
    CHECK(test::reported_error(name + " image_encoder", hidden_NTD, golden.tensor("hidden")) < kTolerance);
  }
}

TEST_CASE("the transformer gives diffusers' velocities, with kept keys and without") {
  for (const std::string part : {"transformer", "transformer_2"}) {
    const auto cases = test::golden_cases(part + ".safetensors");
    CHECK(cases.size() >= (part == "transformer" ? 6 : 2));
    for (const std::string& name : cases) {
      const Golden golden(name + "/" + part);
      CHECK(golden.has("latents_0"));
      const model::Transformer transformer = load_transformer(test::golden_path(name + "/model/" + part));
      for (int n = 0; n < 4; ++n) {
        const std::string suffix = "_" + std::to_string(n);
        if (!golden.has("latents" + suffix)) continue;
        for (const bool keep_keys : {false, true}) {
          const std::string image = "image" + suffix;
          const model::TransformerText text = transformer.prepare_text(
              golden.tensor("text" + suffix), keep_keys, golden.has(image) ? golden.tensor(image) : at::Tensor());
          const std::string first = "first_timestep" + suffix;
          const at::Tensor output =
              transformer.forward(golden.tensor("latents" + suffix), golden.tensor("timestep" + suffix), text,
                                  golden.has(first) ? golden.tensor(first) : at::Tensor());
          CHECK(test::reported_error(name + " " + part + suffix, output, golden.tensor("output" + suffix)) <
                kTolerance);
        }
      }
    }
  }
}

TEST_CASE("the VAE decodes and encodes as diffusers does, piece by piece") {
  for (const std::string& name : test::golden_cases("vae.safetensors")) {
    const Golden golden(name + "/vae");
    const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), at::kCPU, at::kFloat);
    CHECK(golden.has("latents_1"));
    for (int n = 0; golden.has("latents_" + std::to_string(n)); ++n) {
      const std::string suffix = "_" + std::to_string(n);
      const at::Tensor frames = golden.tensor("frames" + suffix);
      const at::Tensor latents = golden.tensor("latents" + suffix);
      CHECK(test::reported_error(name + " vae decode" + suffix, vae.decode(latents),
                                 golden.tensor("decoded" + suffix)) < kTolerance);
      CHECK(test::reported_error(name + " vae encode" + suffix, vae.encode(frames), golden.tensor("encoded" + suffix)) <
            kTolerance);
    }
  }
}

TEST_CASE("the VAE's tiles are cut and blended as diffusers' are") {
  for (const std::string& name : test::golden_cases("vae.safetensors")) {
    const Golden golden(name + "/vae");
    const auto vae = model::Vae::load(test::golden_path(name + "/model/vae"), at::kCPU, at::kFloat);
    const nlohmann::json sizes = golden.settings();
    const model::Tiling tiling{sizes.at("tile_sample_min_height"), sizes.at("tile_sample_min_width"),
                               sizes.at("tile_sample_stride_height"), sizes.at("tile_sample_stride_width")};
    const at::Tensor expected = golden.tensor("tiled.decoded");
    const at::Tensor latents = golden.tensor("tiled.latents");
    CHECK(test::reported_error(name + " vae tiled decode", vae.decode_tiled(latents, tiling, at::kFloat), expected) <
          kTolerance);
    CHECK(test::reported_error(name + " vae tiled encode", vae.encode_tiled(golden.tensor("tiled.frames"), tiling),
                               golden.tensor("tiled.encoded")) < kTolerance);
    // Tiles make a difference, or the test would prove nothing.
    CHECK(test::relative_error(vae.decode(latents), expected) > 1e-3);
    const at::Tensor bytes = vae.decode_tiled(latents, tiling, at::kByte);
    CHECK((bytes.to(at::kInt) - model::to_bytes(expected).to(at::kInt)).abs().max().item<int>() <= 1);
  }
}

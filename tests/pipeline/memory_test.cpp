// The memory plan's arithmetic against checkpoints that are loaded, and against what CPU tensors really take.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "nightreel/base/json.h"
#include "nightreel/memory/activations.h"
#include "nightreel/memory/model.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/weights/weights.h"
#include "support/counted_memory.h"
#include "support/error.h"
#include "support/golden.h"
#include "support/temp_folder.h"

using namespace nightreel;
using memory::Part;

namespace {

std::string shapes_model() {
  return std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/models/shapes";
}

model::Transformer load_transformer(const std::string& folder, at::ScalarType dtype, bool fp8 = false) {
  const std::string path = folder + "/config.json";
  weights::WeightMap weights = weights::WeightMap::open(folder);
  return {card::parse_transformer_config(base::read_json(path), path), weights, {at::kCPU, dtype, fp8}};
}

template <class Module>
std::uint64_t bytes_of(Module module) {
  std::uint64_t bytes = 0;
  module.each_weight([&](at::Tensor& weight) { bytes += weight.nbytes(); });
  return bytes;
}

std::uint64_t bytes_of(model::Transformer transformer) {
  std::uint64_t bytes = 0;
  for (const model::Parameter& parameter : transformer.parameters()) {
    model::each_tensor(parameter, [&](const at::Tensor& tensor) { bytes += tensor.nbytes(); });
  }
  return bytes;
}

settings::Settings video(std::int64_t height, std::int64_t width, std::int64_t frames) {
  settings::Settings s;
  s.height = height;
  s.width = width;
  s.num_frames = frames;
  return s;
}

/// An estimate may be too high by half, and too low by a tenth. `beside`: what the plan counts elsewhere, and a
/// measurement finds in here.
void check_near(std::uint64_t estimated, std::size_t measured, std::uint64_t beside = 0) {
  CAPTURE(estimated);
  CAPTURE(measured);
  CHECK(static_cast<double>(measured) < 1.1 * static_cast<double>(estimated + beside));
  CHECK(static_cast<double>(estimated) < 1.5 * static_cast<double>(measured));
}

struct Video {
  const char* name;
  std::string dir;
  settings::Settings settings;
};

std::vector<Video> videos() {
  return {{"plain", test::golden_path("plain/model"), video(128, 192, 17)},
          {"experts", test::golden_path("experts/model"), video(128, 192, 17)},
          {"square", test::golden_path("square/model"), video(128, 128, 9)},
          {"ti2v", test::golden_path("ti2v/model"), video(256, 192, 17)},
          {"shapes", shapes_model(), video(256, 256, 17)}};
}

}  // namespace

TEST_CASE("weights are counted from the files' headers as the modules hold them") {
  for (const std::string name : {"plain", "experts", "half", "pixels", "ti2v", "clip", "first_last", "residual"}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      CAPTURE(name);
      const std::string dir = test::golden_path(name + "/model");
      const memory::MemoryModel m = pipeline::memory_model(card::read(dir), {dtype, true, std::nullopt});
      CHECK(m.of(Part::transformer) == bytes_of(load_transformer(dir + "/transformer", dtype)));
      CHECK(m.of(Part::transformer_2) == (name == "experts" ? m.of(Part::transformer) : 0));
      CHECK(m.of(Part::vae) == bytes_of(model::Vae::load(dir + "/vae", at::kCPU, at::kFloat)));
      CHECK(m.of(Part::text_encoder) == bytes_of(model::Umt5Encoder::load(dir + "/text_encoder", at::kCPU, dtype)));
      const bool clip = m.clip.has_value();
      CHECK(clip == (name == "clip" || name == "first_last"));
      CHECK(m.of(Part::image_encoder) == (clip ? bytes_of(model::ClipVision::load(dir, at::kCPU, dtype)) : 0));
      CHECK(m.host_weights > 0);
      CHECK(m.linear_weights * static_cast<std::uint64_t>(m.element_bytes) < m.of(Part::transformer));
      const memory::MemoryModel narrow =
          pipeline::memory_model(card::read(dir), {dtype, true, std::nullopt, /*fp8=*/true});
      CHECK(narrow.of(Part::transformer) == bytes_of(load_transformer(dir + "/transformer", dtype, /*fp8=*/true)));
      CHECK(narrow.of(Part::transformer) < m.of(Part::transformer));
      CHECK(narrow.of(Part::vae) == m.of(Part::vae));
    }
  }
}

TEST_CASE("a checkpoint that names transformer_2 alone is a model of one expert") {
  const std::string plain = test::golden_path("plain/model");
  const test::TempFolder folder;
  for (const auto& entry : std::filesystem::directory_iterator(plain)) {
    const std::string name = entry.path().filename().string();
    if (name == "model_index.json") continue;
    std::filesystem::create_symlink(entry.path(), folder / (name == "transformer" ? "transformer_2" : name));
  }
  base::Json index = base::read_json(plain + "/model_index.json");
  index["transformer_2"] = std::exchange(index["transformer"], base::Json{nullptr, nullptr});
  folder.write("model_index.json", index.dump());
  const pipeline::Precision precision{at::kFloat, false, std::nullopt};
  CHECK(memory::to_json(pipeline::memory_model(card::read(folder.path()), precision)) ==
        memory::to_json(pipeline::memory_model(card::read(plain), precision)));
  const auto loaded = pipeline::Pipeline::load(card::read(folder.path()), {});
  CHECK(loaded.load_seconds().count("transformer_2") == 1);
  CHECK(loaded.load_seconds().count("transformer") == 0);
  index["transformer_2"] = base::Json{nullptr, nullptr};
  folder.write("model_index.json", index.dump());
  const auto thrown = test::thrown_by([&] { pipeline::Pipeline::load(card::read(folder.path()), {}); });
  CHECK((thrown.kind == base::ErrorKind::model));
  CHECK(test::contains(thrown.message, "model_index.json: transformer: is missing, and so is transformer_2"));
}

TEST_CASE("a pass through the transformer takes about what the plan says") {
  test::CountedMemory memory;
  for (const Video& v : videos()) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      CAPTURE(v.name);
      CAPTURE(c10::elementSize(dtype));
      const c10::InferenceMode inference;
      memory::MemoryModel m = pipeline::memory_model(card::read(v.dir), {dtype, false, false});
      m.both_prompts = false;
      const auto transformer = load_transformer(v.dir + "/transformer", dtype);
      const auto& config = transformer.config();
      const at::Tensor latents =
          at::randn({1, config.in_channels, (v.settings.num_frames - 1) / m.vae.scale_factor_temporal + 1,
                     v.settings.height / m.vae.scale_factor_spatial, v.settings.width / m.vae.scale_factor_spatial});
      const auto text = transformer.prepare_text(at::randn({1, 512, config.text_dim}), false);
      transformer.forward(latents, at::full({1}, 500.0), text);  // the rotation's table is made once
      memory.start();
      transformer.forward(latents, at::full({1}, 500.0), text);
      const memory::Activations need = memory::activations_of(m, v.settings, {});
      check_near(need.blocks, memory.most(), need.latents);  // the pass's own input and output
    }
  }
}

TEST_CASE("decoding and encoding take about what the plan says, whole and in tiles") {
  test::CountedMemory memory;
  for (const Video& v : videos()) {
    CAPTURE(v.name);
    const c10::InferenceMode inference;
    const memory::MemoryModel m = pipeline::memory_model(card::read(v.dir), {at::kFloat, false, std::nullopt});
    const auto vae = model::Vae::load(v.dir + "/vae", at::kCPU, at::kFloat);
    const at::Tensor latents =
        at::randn({1, m.vae.z_dim, (v.settings.num_frames - 1) / m.vae.scale_factor_temporal + 1,
                   v.settings.height / m.vae.scale_factor_spatial, v.settings.width / m.vae.scale_factor_spatial});
    const auto decode = [&](const at::Tensor& some) { vae.decode(some, [](const at::Tensor&) {}); };
    decode(latents.slice(2, 0, 2));  // weights in oneDNN's format are made once, for a first frame and for later ones
    memory.start();
    decode(latents);
    check_near(memory::activations_of(m, v.settings, {}).decode, memory.most());

    settings::Settings with_picture = v.settings;
    with_picture.image = "first.png";
    const bool one_frame = m.transformer->in_channels == m.transformer->out_channels;
    const at::Tensor pixels =
        at::zeros({1, 3, one_frame ? 1 : v.settings.num_frames, v.settings.height, v.settings.width});
    vae.encode(pixels.slice(2, 0, 5));
    memory.start();
    vae.encode(pixels);
    check_near(memory::activations_of(m, with_picture, {}).picture, memory.most());
  }
}

// Whole runs with LoRAs, against diffusers' with the same ones fused, and back to runs without.
#include "nightreel/pipeline/loras.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/pipeline/pipeline.h"
#include "pipeline/golden_run.h"
#include "support/error.h"
#include "support/gap.h"
#include "support/temp_folder.h"
#include "weights/checkpoint_files.h"

using namespace nightreel;
using pipeline::Pipeline;
using test::gap;
using test::GoldenRun;

namespace {

pipeline::OpenLoras open_loras(const std::vector<settings::Lora>& loras) {
  pipeline::LoraFiles files;
  return pipeline::open_loras(loras, files);
}

at::Tensor latents_of(Pipeline& pipeline, const GoldenRun& golden) {
  CHECK(pipeline.use_loras(open_loras(golden.settings.loras)).empty());
  const auto image = pipeline.encode_pictures(golden.settings, golden.pictures());
  return pipeline.denoise({golden.settings, golden.prompt(), golden.negative(), image}).latents_CFYX;
}

/// The tensors of a LoRA with keys of "transformer." as the low-noise expert's, and with `high` as the high-noise one's
/// too.
std::string for_experts(const std::string& path, bool high) {
  const std::string bytes = base::read_file(path, 1U << 24U);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const base::Json header = base::parse_json(bytes.substr(8, length));
  const std::string data = bytes.substr(8 + length);
  constexpr std::string_view kPrefix = "transformer.";
  base::Json both = base::Json::object();
  for (const auto& [key, stored] : header.items()) {
    if (key == "__metadata__") continue;
    REQUIRE(key.rfind(kPrefix, 0) == 0);
    base::Json moved = stored;
    for (auto& offset : moved["data_offsets"]) offset = offset.get<std::uint64_t>() + (high ? data.size() : 0);
    if (high) both[key] = stored;
    both["transformer_2." + key.substr(kPrefix.size())] = moved;
  }
  return test::file_bytes(both.dump(), high ? data + data : data);
}

}  // namespace

TEST_CASE("runs with LoRAs give diffusers' latents, and leave nothing behind for the runs after them") {
  const std::vector<std::pair<const char*, std::vector<const char*>>> models{
      {"plain", {"run_lora_peft_alpha", "run_lora_comfy", "run_lora_two"}},
      {"experts", {"run_lora_both", "run_lora_apart", "run_lora_four"}},
      {"clip", {"run_lora_comfy"}}};
  for (const auto& [model, runs] : models) {
    CAPTURE(model);
    const GoldenRun plain(model);
    Pipeline pipeline = Pipeline::load(card::read(plain.model_dir()), {});
    const at::Tensor without = latents_of(pipeline, plain);
    std::vector<at::Tensor> alone;
    for (const char* run : runs) {
      CAPTURE(run);
      const GoldenRun golden(model, run);
      alone.push_back(latents_of(pipeline, golden));
      CHECK(gap(alone.back(), golden.tensor("latents")[0]) < 2e-4F);
      GoldenRun bare(model, run);
      bare.settings.loras.clear();
      CHECK(gap(alone.back(), latents_of(pipeline, bare)) > 1e-2F);
    }
    CHECK(at::equal(latents_of(pipeline, plain), without));
    for (std::size_t i = 0; i < runs.size(); ++i) {  // from one set to the next without a plain run between
      CHECK(at::equal(latents_of(pipeline, GoldenRun(model, runs[i])), alone[i]));
    }
  }
}

TEST_CASE("LoRAs listed in another order give the same bits") {
  GoldenRun golden("plain", "run_lora_two");
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  const at::Tensor latents_CFYX = latents_of(pipeline, golden);
  const std::string digest = pipeline::digest_of(open_loras(golden.settings.loras));
  std::reverse(golden.settings.loras.begin(), golden.settings.loras.end());
  CHECK(pipeline::digest_of(open_loras(golden.settings.loras)) == digest);
  Pipeline fresh = Pipeline::load(card::read(golden.model_dir()), {});
  CHECK(at::equal(latents_of(fresh, golden), latents_CFYX));
}

TEST_CASE("a set's digest follows contents, scales and experts, not names") {
  const auto digest = [](const std::string& path, double scale, const char* expert) {
    return pipeline::digest_of(open_loras({{path, scale, expert}}));
  };
  const std::string path = test::golden_path("plain/loras/peft.safetensors");
  const test::TempFolder folder;
  std::filesystem::copy_file(path, folder / "renamed.safetensors");
  CHECK(pipeline::digest_of({}).empty());
  CHECK(digest(path, 1, "both") == digest(folder / "renamed.safetensors", 1, "both"));
  CHECK(digest(path, 1, "both") != digest(path, 0.5, "both"));
  CHECK(digest(path, 1, "both") != digest(path, 1, "high"));
  CHECK(digest(path, 1, "both") != digest(test::golden_path("plain/loras/kohya.safetensors"), 1, "both"));
}

TEST_CASE("a file is opened once, and again after it was changed or replaced") {
  const test::TempFolder folder;
  const std::string path = folder / "a.safetensors";
  std::filesystem::copy_file(test::golden_path("plain/loras/peft.safetensors"), path);
  pipeline::LoraFiles files;
  const auto first = files.open(path);
  CHECK(files.open(path) == first);
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  const auto touched = files.open(path);
  CHECK(touched != first);
  CHECK(touched->digest() == first->digest());
  std::filesystem::copy_file(test::golden_path("plain/loras/kohya.safetensors"), folder / "b.safetensors");
  std::filesystem::rename(folder / "b.safetensors", path);
  CHECK(files.open(path)->digest() != first->digest());
  CHECK(pipeline::digests(pipeline::open_loras({{path, 1, "both"}}, files)) ==
        std::map<std::string, std::string>{{path, files.open(path)->digest()}});
  std::filesystem::remove(path);
  CHECK((test::thrown_by([&] { files.open(path); }).kind == base::ErrorKind::job));
}

TEST_CASE("a LoRA's file that became a link after its path was resolved is not followed") {
  const test::TempFolder folder;
  const std::string path = folder / "a.safetensors";
  std::filesystem::create_symlink(test::golden_path("plain/loras/peft.safetensors"), path);
  pipeline::LoraFiles files;
  const auto error = test::thrown_by([&] { files.open(path); });
  CHECK((error.kind == base::ErrorKind::job));
  CHECK(test::contains(error.message, "a symbolic link"));
}

TEST_CASE("a file that names two experts does for each what a file of its own does") {
  GoldenRun golden("experts", "run_lora_both");
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  const std::string one = test::golden_path("experts/loras/peft.safetensors");
  const test::TempFolder folder;
  const std::string two = folder.write("two.safetensors", for_experts(one, true));
  const std::string low = folder.write("low.safetensors", for_experts(one, false));
  const auto latents = [&](const std::string& path, const char* expert) {
    golden.settings.loras = {{path, 1, expert}};
    return latents_of(pipeline, golden);
  };
  const at::Tensor of_low = latents(one, "low");
  for (const char* expert : {"both", "high"}) {
    CAPTURE(expert);
    const at::Tensor of_one = latents(one, expert);
    CHECK(at::equal(latents(two, expert), of_one));
    CHECK_FALSE(at::equal(of_one, of_low));
  }
  for (const char* expert : {"both", "low"}) CHECK(at::equal(latents(low, expert), of_low));
  const auto refused = test::thrown_by([&] { pipeline.use_loras(open_loras({{low, 1, "high"}})); });
  CHECK((refused.kind == base::ErrorKind::job));
  CHECK(test::contains(refused.message, "low.safetensors: holds the low-noise expert's part alone"));

  const GoldenRun plain("plain");
  Pipeline single = Pipeline::load(card::read(plain.model_dir()), {});
  const auto misfit = test::thrown_by([&] { single.use_loras(open_loras({{low, 1, "both"}})); });
  CHECK(test::contains(misfit.message, "is for a low-noise expert, and this model has one expert"));
  const std::string small = test::golden_path("plain/loras/peft.safetensors");
  const auto left_out =
      single.use_loras(open_loras({{folder.write("s.safetensors", for_experts(small, true)), 1, "both"}}));
  REQUIRE(left_out.size() == 1);
  CHECK(test::contains(left_out[0], "s.safetensors: the low-noise expert's part"));
}

TEST_CASE("LoRAs that cannot be used are the job's error, and those of another video the program's own") {
  GoldenRun golden("plain", "run_lora_comfy");
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  const auto refused = [&](const settings::Lora& lora) {
    const auto thrown = test::thrown_by([&] { pipeline.use_loras(open_loras({lora})); });
    CHECK((thrown.kind == base::ErrorKind::job));
    return thrown.message;
  };
  CHECK(test::contains(refused({golden.settings.loras[0].path, 1, "low"}), "expert: low: this model has one expert"));
  CHECK(test::contains(refused({"/no/such.safetensors", 1, "both"}), "/no/such.safetensors: No such file"));
  const std::string wider = test::golden_path("experts/loras/peft.safetensors");
  CHECK(test::contains(refused({wider, 1, "both"}), "peft.safetensors: is made for another model: "));

  const auto run = [&] { pipeline.denoise({golden.settings, golden.prompt(), golden.negative()}); };
  CHECK((test::thrown_by(run).kind == base::ErrorKind::internal));
}

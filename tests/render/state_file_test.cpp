// A denoising between two steps, in its file and back. A file that cannot be used is set aside, and costs only its
// time.
#include "render/state_file.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/media/checkpoint.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;
using render::load_state;
using render::save_state;
using render::StateKey;

namespace fs = std::filesystem;

namespace {

const StateKey kMine{"settings", "digest"};

pipeline::DenoiseState half_done() {
  pipeline::DenoiseState state;
  state.sampler.next_step = 5;
  state.latents_CFYX = at::arange(24, at::kFloat).reshape({4, 1, 2, 3}).div(7);
  state.sampler.tensors["last"] = at::full({2, 2}, -0.1F);
  state.sampler.tensors["one"] = at::full({}, 3.0F);
  return state;
}

/// In a folder, "state" as `make` made it; whether there is nothing to go on from, and the file is set aside as it was.
template <typename Make>
bool set_aside(const StateKey& key, const Make& make) {
  const test::TempFolder folder;
  const std::string path = folder / "state";
  make(path);
  const bool is_file = fs::is_regular_file(path);
  const std::string before = is_file ? base::read_file(path, 1U << 20U) : "";
  if (load_state(path, key) || fs::exists(path) || !fs::exists(path + ".broken")) return false;
  return !is_file || base::read_file(path + ".broken", 1U << 20U) == before;
}

/// The same for a good file whose content `change` changes.
template <typename Change>
bool refused_after(const Change& change) {
  return set_aside(kMine, [&](const std::string& path) {
    save_state(path, kMine, half_done());
    std::string content = base::read_file(path, 1U << 20U);
    change(content);
    base::replace_file(path, content);
  });
}

}  // namespace

TEST_CASE("a state comes back as it was, also where it replaces an older one") {
  const test::TempFolder folder;
  const std::string path = folder / "state";
  pipeline::DenoiseState state = half_done();
  state.sampler.next_step = 4;
  save_state(path, kMine, state);
  save_state(path, kMine, half_done());
  const auto read = load_state(path, kMine);
  REQUIRE(read);
  CHECK(read->sampler.next_step == 5);
  CHECK(at::equal(read->latents_CFYX, half_done().latents_CFYX));
  REQUIRE(read->sampler.tensors.size() == 2);
  for (const auto& [name, tensor] : half_done().sampler.tensors)
    CHECK(at::equal(read->sampler.tensors.at(name), tensor));
  CHECK(fs::exists(path));
  CHECK_FALSE(fs::exists(path + ".broken"));
}

TEST_CASE("what is kept is float32 on the CPU, whatever the tensors are and however they lie") {
  const test::TempFolder folder;
  pipeline::DenoiseState state = half_done();
  state.latents_CFYX = state.latents_CFYX.to(at::kDouble).transpose(2, 3);
  save_state(folder / "state", kMine, state);
  const auto read = load_state(folder / "state", kMine);
  REQUIRE(read);
  CHECK((read->latents_CFYX.scalar_type() == at::kFloat));
  CHECK(at::equal(read->latents_CFYX, half_done().latents_CFYX.transpose(2, 3)));
}

TEST_CASE("no file is no state, and leaves nothing behind") {
  const test::TempFolder folder;
  CHECK_FALSE(load_state("", kMine));
  CHECK_FALSE(load_state(folder / "state", kMine));
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("a state of other settings or of another model is set aside") {
  const auto mine = [](const std::string& path) { save_state(path, kMine, half_done()); };
  CHECK(set_aside({"other settings", "digest"}, mine));
  CHECK(set_aside({"settings", "other digest"}, mine));
  CHECK_FALSE(set_aside(kMine, mine));
}

TEST_CASE("a state that is torn, changed, foreign or empty is set aside") {
  CHECK(refused_after([](std::string& content) { content.resize(content.size() / 2); }));
  CHECK(refused_after([](std::string& content) { content.resize(content.size() - 1); }));
  CHECK(refused_after(
      [](std::string& content) { content[content.size() / 2] = static_cast<char>(~content[content.size() / 2]); }));
  CHECK(refused_after([](std::string& content) { content[0] = 'x'; }));
  CHECK(refused_after([](std::string& content) { content = "no checkpoint at all"; }));
  CHECK(refused_after([](std::string& content) { content.clear(); }));
  CHECK_FALSE(refused_after([](std::string&) {}));
}

TEST_CASE("what cannot be read at all is set aside, too") {
  CHECK(set_aside(kMine, [](const std::string& path) { fs::create_directory(path); }));
}

TEST_CASE("a whole file of the right job that is no state of a denoising is set aside") {
  const auto written = [](const std::function<void(media::StateFile&)>& change) {
    return [change](const std::string& path) {
      media::StateFile file;
      file.job_hash = kMine.settings_hash;
      file.model_digest = kMine.model_digest;
      file.info["next_step"] = 5;
      file.arrays["latents"] = {{2}, std::vector<float>{1, 2}};
      change(file);
      media::write_state(path, file);
    };
  };
  CHECK_FALSE(set_aside(kMine, written([](media::StateFile&) {})));
  CHECK(set_aside(kMine, written([](media::StateFile& file) { file.info.erase("next_step"); })));
  CHECK(set_aside(kMine, written([](media::StateFile& file) { file.info["next_step"] = "five"; })));
  CHECK(set_aside(kMine, written([](media::StateFile& file) {
                    file.arrays["latents"] = {{2}, std::vector<double>{1, 2}};
                  })));
}

TEST_CASE("a second broken file takes the place of the first") {
  const test::TempFolder folder;
  folder.write("state", "broken");
  folder.write("state.broken", "long ago");
  CHECK_FALSE(load_state(folder / "state", kMine));
  CHECK(base::read_file(folder / "state.broken", 100) == "broken");
  save_state(folder / "state", kMine, half_done());
  CHECK(load_state(folder / "state", kMine));
}

TEST_CASE("a state that cannot be written is an error of storage that names the file") {
  const test::TempFolder folder;
  const auto thrown = test::thrown_by([&] { save_state(folder / "no folder/state", kMine, half_done()); });
  CHECK(thrown.kind == base::ErrorKind::storage);
  CHECK(test::contains(thrown.message, "no folder"));
}

TEST_CASE("a key tells settings, pictures, LoRAs, models and jobs apart") {
  settings::Settings settings;
  settings.prompt = "a red circle";
  const StateKey key = render::state_key(settings, "pictures", "digest");
  CHECK(render::state_key(settings, "pictures", "digest").settings_hash == key.settings_hash);
  CHECK(render::state_key(settings, "other pictures", "digest").settings_hash != key.settings_hash);
  CHECK(render::state_key(settings, "pictures", "other").model_digest == "other");
  CHECK(render::state_key(settings, "pictures", "digest", "a job").settings_hash != key.settings_hash);
  CHECK(render::state_key(settings, "pictures", "digest", "a job").settings_hash !=
        render::state_key(settings, "pictures", "digest", "another").settings_hash);
  settings.seed = 1;
  CHECK(render::state_key(settings, "pictures", "digest").settings_hash != key.settings_hash);
}

TEST_CASE("a state that does not fit is named on one line, with the reason") {
  const test::TempFolder folder;
  const std::string log_file = folder / "log";
  const auto log = base::Logger::to_stderr_and_file(base::LogFormat::text, "test", log_file);
  const std::string path = folder / "state";
  const auto told = [&](const StateKey& key, const std::string& content) {
    if (content.empty()) {
      save_state(path, kMine, half_done());
    } else {
      base::replace_file(path, content);
    }
    const std::size_t before = base::read_file(log_file, 1U << 20U).size();
    CHECK_FALSE(load_state(path, key, log));
    const std::string lines = base::read_file(log_file, 1U << 20U).substr(before);
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 1);
    CHECK(test::contains(lines, "saved-state"));
    CHECK(test::contains(lines, "it is set aside as " + path + ".broken, and the video begins anew"));
    return lines;
  };
  CHECK(test::contains(told({"settings", "another"}, ""), path + ": is of another model: it is set aside"));
  CHECK(test::contains(told({"other", "digest"}, ""), ": is of another job, or of other settings or inputs: it is"));
  CHECK(test::contains(told(kMine, "cut off"), ": is no checkpoint, or its start is lost: it is set aside"));
  save_state(path, kMine, half_done());
  const std::size_t before = base::read_file(log_file, 1U << 20U).size();
  CHECK(load_state(path, kMine, log));
  CHECK_FALSE(load_state(folder / "none", kMine, log));
  CHECK(base::read_file(log_file, 1U << 20U).size() == before);
}

TEST_CASE("how the file is written is no part of a key") {
  settings::Settings settings;
  const StateKey key = render::state_key(settings, "pictures", "digest", "a job");
  settings.fps = 30;
  settings.crf = 40;
  settings.codec = "hevc";
  CHECK(render::state_key(settings, "pictures", "digest", "a job").settings_hash == key.settings_hash);
}

TEST_CASE("a state that version 0.1 left is gone on from") {
  settings::Settings settings;
  settings.prompt = "a red circle";
  settings.fps = 8;
  // e027eb8: sha256 of all settings' JSON and the inputs; no word of the job.
  const std::string of_0_1 =
      R"({"boundary_ratio":null,"flow_shift":3.0,"fps":8.0,"guidance_scale":5.0,"guidance_scale_2":null,"height":0,)"
      R"("image":"","last_image":"","loras":[],"negative_prompt":"","num_frames":0,"num_inference_steps":0,)"
      R"("prompt":"a red circle","sampler":"unipc","seed":0,"sigmas":[],"width":0})";
  const StateKey old{base::sha256_hex(of_0_1 + "pictures f32"), "digest"};
  const test::TempFolder folder;
  save_state(folder / "state", old, half_done());
  CHECK(load_state(folder / "state", render::state_key(settings, "pictures f32", "digest", "a job")));
  settings.fps = 9;
  CHECK_FALSE(load_state(folder / "state", render::state_key(settings, "pictures f32", "digest", "a job")));
}

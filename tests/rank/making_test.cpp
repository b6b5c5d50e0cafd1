// Would this run make a finished video as it was made? And how long did its like take?
#include "nightreel/rank/making.h"

#include <doctest/doctest.h>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/rank/input_hashes.h"
#include "nightreel/rank/past_times.h"
#include "nightreel/settings/json.h"
#include "rank/kept.h"
#include "support/temp_folder.h"

using namespace nightreel;
using namespace nightreel::rank;
using base::Json;

namespace {

settings::Settings some_settings() {
  settings::Settings s;
  s.prompt = "a cat";
  s.image = "/cat.png";
  s.width = 832;
  s.height = 480;
  s.num_frames = 81;
  s.num_inference_steps = 20;
  s.loras = {{"/style.safetensors", 1.0, "both"}};
  return s;
}

std::string content(const std::string& path) {
  return path == "/cat.png" ? "c0" : "10";
}

Json sidecar() {
  return {{"id", "a"},
          {"model_digest", "m1"},
          {"model", {{"dtype", "bf16"}}},
          {"crf", 18},
          {"settings", settings::to_json(some_settings())},
          {"inputs", {{"/cat.png", "c0"}, {"/style.safetensors", "10"}}}};
}

std::string differs(const Json& told) {
  return difference(told, {"m1", "bf16"}, some_settings(), content);
}

}  // namespace

TEST_CASE("what another model, content, setting or precision made is told apart") {
  CHECK(differs(sidecar()) == "");
  struct Row {
    const char* pointer;
    Json value;
    const char* difference;
  };
  const std::vector<Row> rows{{"/model_digest", "m2", "the model"},
                              {"/model/dtype", "f32", "dtype"},
                              {"/crf", 28, "crf"},
                              {"/settings/crf", 28, "crf"},
                              {"/settings/codec", "hevc", "codec"},
                              {"/settings/flow_shift", 12.0, "flow_shift"},
                              {"/settings/guidance_scale_2", 3.5, "guidance_scale_2"},
                              {"/settings/sampler", "euler", "sampler"},
                              {"/settings/negative_prompt", "blur", "negative_prompt"},
                              {"/inputs/~1cat.png", "c1", "the content of /cat.png"},
                              {"/inputs/~1style.safetensors", "", "the content of /style.safetensors"}};
  for (const Row& row : rows) {
    CAPTURE(row.pointer);
    Json told = sidecar();
    told[Json::json_pointer(row.pointer)] = row.value;
    CHECK(differs(told) == row.difference);
  }
}

TEST_CASE("what a sidecar does not tell counts as alike, and one number is one number however it is written") {
  for (const char* field : {"model_digest", "model", "crf", "settings", "inputs"}) {
    Json told = sidecar();
    told.erase(field);
    CHECK_MESSAGE(differs(told) == "", field);
  }
  for (const char* field : {"model", "settings", "inputs"}) {  // damaged
    Json told = sidecar();
    told[field] = 3;
    CHECK_MESSAGE(differs(told) == "", field);
  }
  Json told = sidecar();
  for (const char* newer : {"crf", "codec"}) told["settings"].erase(newer);
  told["settings"].erase("flow_shift");
  told["inputs"].erase("/cat.png");
  told["inputs"]["/etc/passwd"] = "not asked for";
  told["settings"]["guidance_scale"] = 5;  // 5.0
  CHECK(differs(told) == "");
  CHECK(differs(Json::object()) == "");
  const auto gone = [](const std::string& path) -> std::string {
    throw base::Error(base::ErrorKind::storage, path + ": is gone");
  };
  CHECK(difference(sidecar(), {"m1", "bf16"}, some_settings(), gone) == "the content of /cat.png");
}

TEST_CASE(
    "a file's content is known by its bytes, a folder's by those of all its files, and read anew when it changed") {
  const test::TempFolder folder;
  InputHashes hashes;
  const auto path = folder.write("style.safetensors", "one");
  const std::string first = hashes.of(path);
  CHECK(first.size() == 32);
  CHECK(hashes.of(path) == first);
  base::replace_file(path, "two");
  CHECK(hashes.of(path) != first);
  base::replace_file(path, "one");
  CHECK(hashes.of(path) == first);
  const std::string whole = hashes.of(folder.path());
  folder.write("adapter_config.json", "{}");
  CHECK(hashes.of(folder.path()) != whole);
  CHECK_THROWS_AS(hashes.of(folder / "none"), base::Error);
  CHECK(unchanged({{"a", "1"}, {"b", "2"}, {"c", "3"}}, {{"a", "1"}, {"b", "9"}}) ==
        Inputs{{"a", "1"}, {"b", ""}, {"c", ""}});
}

TEST_CASE("the line about kept videos names the first ten") {
  std::vector<Kept> kept{{"a", "crf", "m"}, {"b", "crf", "m"}};
  CHECK(kept_line(kept) == "2 videos made otherwise: a, b");
  kept.assign(11, {"x", "crf", "m"});
  CHECK(kept_line(kept) == "11 videos made otherwise: x, x, x, x, x, x, x, x, x, x, \u2026");
}

TEST_CASE("the slowest of this model's and size's sidecars tells how long one takes") {
  const test::TempFolder folder;
  const OutputFolder out(folder.path());
  out.make();
  const auto put = [&](const std::string& id, const std::string& model, double denoise, std::int64_t frames = 81) {
    Json told = sidecar();
    told["model_digest"] = model;
    told["settings"]["num_frames"] = frames;
    told["timings"] = {{"text", 1.5}, {"denoise", denoise}};
    base::replace_file(out.final_names(id, false).sidecar, told.dump());
  };
  put("a", "m1", 100);
  put("b", "m1", 300);
  put("c", "m2", 900);
  put("d", "m1", 600, 41);
  for (const char* broken : {"{", "[]", R"({"model_digest": "m1", "settings": 3, "timings": "x"})"}) {
    base::replace_file(out.final_names("broken", false).sidecar, broken);
    PastTimes past(out, "m1");
    CHECK(past.slowest(some_settings()) == 301.5);
  }
  PastTimes past(out, "m1");
  settings::Settings other = some_settings();
  other.num_frames = 41;
  CHECK(past.slowest(other) == 601.5);
  other.width = 16;
  CHECK(!past.slowest(other));
  past.add(other, 7);
  past.add(other, 5);
  CHECK(past.slowest(other) == 7);
  CHECK(!PastTimes(OutputFolder(folder / "none"), "m1").slowest(some_settings()));
}

// What a saved state is keyed by, and what ranks of a group compare.
#include "nightreel/settings/key.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/settings/stated.h"
#include "settings/examples.h"

namespace nightreel::settings {
namespace {

Settings some_settings() {
  Settings s;
  s.prompt = "a red circle";
  s.height = 48;
  s.width = 64;
  s.num_frames = 9;
  s.fps = 8;
  s.num_inference_steps = 5;
  s.guidance_scale_2 = 3.25;
  s.boundary_ratio = 0.8;
  s.seed = 7;
  return s;
}

Settings with(const Row& row, Settings settings) {
  base::Json job{{"prompt", settings.prompt}};
  job[std::string(row.name)] = test::example(row);
  overlay(read_stated(job, Source::job), settings);
  return settings;
}

/// The table with one more setting of sampling, which the table of this version does not have.
std::vector<Row> with_a_new_row(std::string_view neutral) {
  std::vector<Row> table(rows().begin(), rows().end());
  Row added = row("boundary_ratio");
  added.name = "step_cache";
  added.neutral = neutral;
  table.push_back(added);
  return table;
}

TEST_CASE("every setting of sampling makes another key, and none of encoding does") {
  const Settings settings = some_settings();
  for (const Row& row : rows()) {
    if (row.group == Group::queue) continue;
    CAPTURE(row.name);
    CHECK((key_text(with(row, settings)) != key_text(settings)) == (row.group == Group::sampling));
  }
}

TEST_CASE("a new setting at its neutral value changes no old key") {
  Settings settings = some_settings();
  settings.boundary_ratio = 0.8;
  const auto table = with_a_new_row("0.8");
  CHECK(key_text(settings, table) == key_text(settings));
  CHECK(key_text_of_0_1(settings, table) == key_text_of_0_1(settings));
  CHECK(key_text_of_0_1(settings, table).has_value());
}

TEST_CASE("a new setting that is used makes another key, and a state that 0.1 cannot have made") {
  const Settings settings = some_settings();
  const auto table = with_a_new_row("0.5");
  CHECK(key_text(settings, table) != key_text(settings));
  CHECK_FALSE(key_text_of_0_1(settings, table).has_value());
}

TEST_CASE("the key of 0.1 is the text that 0.1 made, with fps and without crf and codec") {
  Settings settings = some_settings();
  const std::string of_0_1 =
      R"({"boundary_ratio":0.8,"fps":8.0,"guidance_scale":5.0,"guidance_scale_2":3.25,"flow_shift":3.0,"height":48,)"
      R"("image":"","last_image":"","loras":[],"negative_prompt":"","num_frames":9,"num_inference_steps":5,)"
      R"("prompt":"a red circle","sampler":"unipc","seed":7,"sigmas":[],"width":64})";
  CHECK(key_text_of_0_1(settings) == base::Json::parse(of_0_1).dump());
  settings.crf = 30;
  settings.codec = "hevc";
  CHECK(key_text_of_0_1(settings) == base::Json::parse(of_0_1).dump());
}

TEST_CASE("the key's own text is held: states in users' folders are found by it") {
  CHECK(key_text(some_settings()) ==
        R"({"boundary_ratio":0.8,"flow_shift":3.0,"guidance_scale":5.0,"guidance_scale_2":3.25,"height":48,"image":"",)"
        R"("last_image":"","loras":[],"negative_prompt":"","num_frames":9,"num_inference_steps":5,)"
        R"("prompt":"a red circle","sampler":"unipc","seed":7,"sigmas":[],"width":64})");
}

TEST_CASE("ranks compare all of sampling, under the names of a job's fields, and nothing else") {
  const Settings settings = some_settings();
  const auto facts = sampling_facts(settings);
  std::size_t sampling = 0;
  for (const Row& row : rows()) {
    if (row.group == Group::sampling) {
      CHECK(facts.at(sampling).first == row.name);
      CHECK(sampling_facts(with(row, settings)).at(sampling).second == test::example(row).dump());
      ++sampling;
    } else if (row.group == Group::encoding) {
      CHECK(sampling_facts(with(row, settings)) == facts);
    }
  }
  CHECK(facts.size() == sampling);
}

}  // namespace
}  // namespace nightreel::settings

// Each setting as a flag: under its name, under its aliases, and --size.
#include "app/common/setting_flags.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "app/common/command_line.h"
#include "nightreel/base/file.h"
#include "nightreel/settings/flags.h"
#include "settings/examples.h"
#include "support/error.h"
#include "support/temp_folder.h"

using namespace nightreel;

namespace {

bool is_any(const settings::Row&) {
  return true;
}

/// The job that `arguments`, spelled as people spell them, make.
base::Json job_of(const std::vector<std::string>& arguments, base::Json job = base::Json::object()) {
  CLI::App program{"test"};
  app::add_setting_flags(program, job, is_any);
  app::name_environment(program);
  auto words = app::normalise_arguments(arguments);
  std::reverse(words.begin(), words.end());
  program.parse(words);
  return job;
}

std::string as_text(const base::Json& value) {
  if (value.is_string()) return value.get<std::string>();
  std::string text = value.dump();
  if (value.is_array() && value.front().is_number()) {
    text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c == '[' || c == ']'; }), text.end());
  }
  return text;
}

}  // namespace

TEST_CASE("each setting is a flag, under its own name, diffusers' and every alias") {
  int aliases = 0;
  for (const settings::Row& row : settings::rows()) {
    CAPTURE(row.name);
    const base::Json expected{{std::string(row.name), test::example(row)}};
    const std::string value = "=" + as_text(test::example(row));
    CHECK(job_of({"--" + std::string(row.name) + value}) == expected);
    CHECK(job_of({"--" + settings::flag_name(row.name) + value}) == expected);
    for (const auto alias : settings::aliases_of(row)) {
      CHECK(job_of({"--" + std::string(alias) + value}) == expected);
      ++aliases;
    }
  }
  CHECK(aliases >= 15);
}

TEST_CASE("--size is width and height, and goes with neither of them") {
  CHECK(job_of({"--size", "832*480"}) == base::Json{{"height", 480}, {"width", 832}});
  CHECK(job_of({"--size=1280x720"}) == base::Json{{"height", 720}, {"width", 1280}});
  CHECK_THROWS_AS(job_of({"--size", "832*480", "--height", "480"}), CLI::ExcludesError);
  CHECK_THROWS_AS(job_of({"--size", "832"}), base::Error);
}

TEST_CASE("what a command presets is shown, and a flag goes before it") {
  base::Json job{{"seed", 7}};
  CLI::App program{"test"};
  app::add_setting_flags(program, job, is_any);
  CHECK(program.get_option("--seed")->get_default_str() == "7");
  CHECK(program.get_option("--crf")->get_default_str() == "18");
  CHECK(job_of({"--base_seed", "8"}, job).at("seed") == 8);
  CHECK(job_of({}, job) == job);
}

TEST_CASE("what is a run's option too is told with its flag") {
  const auto refusal = [](const std::vector<std::string>& arguments) -> std::string {
    try {
      job_of(arguments);
    } catch (const CLI::ValidationError& e) {
      return e.what();
    }
    return "";
  };
  CHECK(test::contains(refusal({"--crf", "52"}), "--crf"));
  CHECK(test::contains(refusal({"--codec", "av1"}), "--codec"));
  CHECK(refusal({"--crf", "51", "--codec", "hevc"}).empty());
}

TEST_CASE("a config file may name a flag by an alias") {
  const test::TempFolder folder;
  base::replace_file(folder / "c.toml", "frame_num = 17\n");
  CLI::App program{"test"};
  base::Json job = base::Json::object();
  app::add_setting_flags(program, job, is_any);
  app::name_environment(program);
  app::apply_config_file(program, {"--config", folder / "c.toml"});
  CHECK(job_of({}) == base::Json{{"num_frames", 17}});
  ::unsetenv("NIGHTREEL_NUM_FRAMES");
}

#include <doctest/doctest.h>

#include <algorithm>

#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/job/resolve.h"

namespace nightreel::job {
namespace {

settings::Settings some_settings() {
  settings::Settings s;
  s.prompt = "a red circle";
  s.height = 480;
  s.width = 832;
  s.num_frames = 81;
  s.num_inference_steps = 40;
  s.guidance_scale = 4;
  s.guidance_scale_2 = 3.5;
  s.flow_shift = 12;
  s.boundary_ratio = 0.875;
  s.seed = 9223372036854775807U;
  return s;
}

/// The words that a POSIX shell makes of `command`.
std::vector<std::string> words_of(const std::string& command) {
  base::ChildOptions options;
  options.argv = {"/bin/sh", "-c", "nightreel() { for w in \"$@\"; do printf '%s\\036\\n' \"$w\"; done; }; " + command};
  options.pipe_stdin = false;
  base::Child child(options);
  base::LineReader reader(child.stdout_fd(), 1U << 20U);
  std::vector<std::string> words;
  std::string word;
  for (std::string line; reader.next(line, std::chrono::seconds(10)) == base::LineReader::Status::line;) {
    const bool ends = !line.empty() && line.back() == '\036';
    word += ends ? line.substr(0, line.size() - 1) : line + "\n";
    if (!ends) continue;
    words.push_back(word);
    word.clear();
  }
  return words;
}

TEST_CASE("the command spells out every setting") {
  CHECK(generate_command(some_settings(), "/models/wan", {"--threads", "2"}, "a.mp4") ==
        "nightreel generate --model /models/wan --prompt 'a red circle' --negative-prompt '' --height 480 --width 832 "
        "--num-frames 81 --fps 16 --num-inference-steps 40 --guidance-scale 4 --guidance-scale-2 3.5 --flow-shift 12 "
        "--boundary-ratio 0.875 --sampler unipc --seed 9223372036854775807 --crf 18 --codec h264 --threads 2 -o a.mp4");
}

TEST_CASE("the shell hands on the texts as they were, whatever stands in them") {
  for (const std::string text :
       {"it's", "$(rm -rf /) `id` $HOME", "two\nlines", "quote\" back\\slash", "日本 é", "*?[a]~#;&|<>", "tab\there"}) {
    INFO(text);
    settings::Settings s = some_settings();
    s.prompt = text;
    const auto words = words_of(generate_command(s, "/m", {}, "a.mp4"));
    REQUIRE(words.size() > 5);
    CHECK(words[3] == "--prompt");
    CHECK(words[4] == text);
  }
  settings::Settings s = some_settings();
  s.prompt = "--seed 3";
  CHECK(words_of(generate_command(s, "/m", {}, "a.mp4")).at(3) == "--prompt=--seed 3");
}

TEST_CASE("numbers are written so that they come back the same") {
  settings::Settings s = some_settings();
  s.fps = 24000.0 / 1001.0;
  s.sigmas = {1, 0.9375, 1.0 / 3.0};
  s.loras = {{"/a b.safetensors", 0.1, "low"}};
  s.image = "/a.png";
  const auto words = words_of(generate_command(s, "/m", {}, "a.mp4"));
  const auto after = [&](const std::string& name) { return *(std::find(words.begin(), words.end(), name) + 1); };
  CHECK(std::stod(after("--fps")) == s.fps);
  CHECK(after("--sigmas") == "1,0.9375,0.3333333333333333");
  CHECK(base::Json::parse(after("--loras")) ==
        base::Json::parse(R"([{"path": "/a b.safetensors", "scale": 0.1, "expert": "low"}])"));
  CHECK(after("--image") == "/a.png");
  CHECK(std::count(words.begin(), words.end(), "--num-inference-steps") == 0);
}

}  // namespace
}  // namespace nightreel::job

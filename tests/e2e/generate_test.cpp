// nightreel-engine as a user starts it, on models/shapes and models/shapes-i2v: one video, its archive, and the errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/process.h"
#include "nightreel/media/archive.h"
#include "nightreel/media/video.h"
#include "support/temp_folder.h"

namespace {

using nightreel::base::Child;
using nightreel::base::ChildOptions;
using nightreel::test::TempFolder;

struct Ended {
  int code = -1;
  std::string log;  // stderr
};

Ended engine(const TempFolder& folder, std::vector<std::string> arguments) {
  const std::string log = folder / "stderr";
  nightreel::base::remove_file(log);
  ChildOptions options;
  options.argv = std::move(arguments);
  options.argv.insert(options.argv.begin(), std::string(std::getenv("NIGHTREEL_BINARY_DIR")) + "/bin/nightreel-engine");
  options.stderr_path = log;
  options.pipe_stdin = false;
  Child child(options);
  REQUIRE(child.wait(std::chrono::minutes(3)));
  return {child.code(), nightreel::base::read_file(log, 1U << 20U)};
}

std::string repository(const std::string& path) {
  return std::string(std::getenv("NIGHTREEL_SOURCE_DIR")) + "/" + path;
}

std::vector<std::string> circle(const std::string& output, const std::string& model = "models/shapes") {
  const std::string prompt = "a red circle moves right on a black background";
  std::vector<std::string> words{"generate", "--model", repository(model), "--prompt", prompt, "-o", output};
  for (const char* word : {"--seed", "7", "--num_inference_steps", "4"}) words.emplace_back(word);
  return words;
}

TEST_CASE("generate writes one whole video and its latents, which decode makes the same video of") {
  const TempFolder folder;
  auto arguments = circle(folder / "a.mp4");
  for (const char* word : {"--archive", "latents", "--archive-file"}) arguments.emplace_back(word);
  arguments.push_back(folder / "a.h5");
  const Ended made = engine(folder, arguments);
  INFO(made.log);
  REQUIRE(made.code == 0);

  const auto video = nightreel::media::check_video(folder / "a.mp4");
  CHECK(video.frames == 17);
  CHECK(video.height == 64);
  CHECK(video.width == 64);
  CHECK(video.fps == doctest::Approx(8));
  const auto archive = nightreel::media::read_archive(folder / "a.h5");
  CHECK(archive.latents_shape == std::array<std::int64_t, 4>{16, 5, 8, 8});
  CHECK(archive.settings.at("num_inference_steps") == 4);

  const Ended decoded = engine(folder, {"decode", folder / "a.h5", "-o", folder / "b.mp4", "--device", "cpu"});
  INFO(decoded.log);
  REQUIRE(decoded.code == 0);
  CHECK(nightreel::base::sha256_file(folder / "a.mp4") == nightreel::base::sha256_file(folder / "b.mp4"));

  REQUIRE(engine(folder, circle(folder / "again.mp4")).code == 0);
  CHECK(nightreel::base::sha256_file(folder / "a.mp4") == nightreel::base::sha256_file(folder / "again.mp4"));
}

TEST_CASE("models/shapes-i2v begins with the picture that it is given, and not without one") {
  const TempFolder folder;
  auto arguments = circle(folder / "a.mp4", "models/shapes-i2v");
  const Ended refused = engine(folder, arguments);
  CHECK(refused.code == 2);
  CHECK(refused.log.find("image: ") != std::string::npos);
  arguments.insert(arguments.end(), {"--image", repository("jobs/pictures/shapes/red_circle.png")});
  const Ended made = engine(folder, arguments);
  INFO(made.log);
  REQUIRE(made.code == 0);
  CHECK(nightreel::media::check_video(folder / "a.mp4").frames == 17);
}

TEST_CASE("what cannot be made is one line on stderr with the right exit code, and leaves no file") {
  const TempFolder folder;
  struct Bad {
    std::vector<std::string> more;
    int code;
    std::string says;
  };
  const std::vector<Bad> table{
      {{"--height", "50"}, 2, "nearest: 48, 64"},
      {{"--num_frames", "16"}, 2, "num_frames"},
      {{"--archive", "latents"}, 2, "--archive-file"},
      {{"--dtype", "int4"}, 2, "--dtype"},
      {{"--device", "gpu"}, 2, "--device"},
      {{"--threads", "many"}, 2, "--threads"},
      {{"--prompts", "x"}, 2, "--prompts"},
      {{"--sampler", "ddim"}, 2, "sampler"},
  };
  for (const auto& bad : table) {
    auto arguments = circle(folder / "x.mp4");
    arguments.insert(arguments.end(), bad.more.begin(), bad.more.end());
    const Ended ended = engine(folder, arguments);
    INFO(ended.log);
    CHECK(ended.code == bad.code);
    CHECK(ended.log.find(bad.says) != std::string::npos);
    CHECK(std::count(ended.log.begin(), ended.log.end(), '\n') == 1);
    CHECK_THROWS(nightreel::base::read_file(folder / "x.mp4", 1));
  }
  auto missing = circle(folder / "x.mp4");
  missing[2] = folder / "nowhere";
  CHECK(engine(folder, missing).code == 3);
}

}  // namespace

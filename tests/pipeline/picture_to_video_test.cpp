// A whole video from the files that a job names, as the renderer makes it, against diffusers.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "nightreel/render/video_maker.h"
#include "pipeline/golden_run.h"
#include "support/error.h"
#include "support/gap.h"
#include "support/temp_folder.h"

using namespace nightreel;
using test::gap;
using test::GoldenRun;

namespace {

/// The run's settings with its prompts and the picture files that diffusers was given.
settings::Settings settings_of(const std::string& name, const std::string& recorded) {
  settings::Settings settings = GoldenRun(name, recorded).settings;
  const std::string run = name + "/" + recorded;
  const auto stated = test::Golden(run).settings();
  settings.prompt = stated.at("prompt");
  settings.negative_prompt = stated.at("negative_prompt");
  if (!settings.image.empty()) settings.image = test::golden_path(run + "_image.png");
  if (!settings.last_image.empty()) settings.last_image = test::golden_path(run + "_last_image.png");
  return settings;
}

render::MakerOptions f32_on_cpu(const std::string& model) {
  render::MakerOptions options;
  options.model = model;
  options.device = "cpu";
  options.dtype = "f32";
  options.threads = 1;
  return options;
}

render::RenderObserver silent() {
  render::RenderObserver observer;
  observer.progress = [](const std::string&, std::int64_t, std::int64_t) {};
  return observer;
}

}  // namespace

TEST_CASE("prompts and picture files become diffusers' latents and frames") {
  for (const auto& [name, recorded] : std::vector<std::pair<std::string, std::string>>{{"i2v", "pipeline"},
                                                                                       {"i2v", "run_last"},
                                                                                       {"ti2v", "pipeline"},
                                                                                       {"ti2v", "run_image"},
                                                                                       {"clip", "pipeline"},
                                                                                       {"first_last", "pipeline"}}) {
    CAPTURE(name);
    CAPTURE(recorded);
    const GoldenRun golden(name, recorded);
    const settings::Settings settings = settings_of(name, recorded);
    render::VideoMaker maker(f32_on_cpu(golden.model_dir()));
    const auto rendered = maker.render({settings, maker.prepare(settings), {}, silent()});
    CHECK(gap(rendered.latents_CFYX, golden.tensor("latents")[0]) < 2e-4F);
    CHECK(gap(rendered.frames_FHW3.to(at::kFloat) / 255, golden.tensor("frames")) <= 1.0F / 255);
  }
}

TEST_CASE("a run that was stopped goes on from its file to the same bits, unless a picture has changed") {
  const test::TempFolder folder;
  for (const char* sampler : {"unipc", "dpm++", "euler"}) {
    CAPTURE(sampler);
    settings::Settings settings = settings_of("i2v", "run_last");
    settings.sampler = sampler;
    render::VideoMaker maker(f32_on_cpu(GoldenRun("i2v").model_dir()));
    const auto whole = maker.render({settings, maker.prepare(settings), {}, silent()});

    const render::Checkpointing checkpointing{folder / "state.h5", 1};
    std::int64_t steps = 0;
    render::RenderObserver stopping = silent();
    stopping.saved = [&](std::int64_t step) { steps = step; };
    stopping.stop_asked = [&] { return steps == 6; };
    const auto stop = [&] { maker.render({settings, maker.prepare(settings), checkpointing, stopping}); };
    CHECK(test::thrown_by(stop).kind == base::ErrorKind::interrupted);

    const auto resumed = maker.render({settings, maker.prepare(settings), checkpointing, silent()});
    CHECK(resumed.resumed_step >= 6);
    CHECK(at::equal(resumed.latents_CFYX, whole.latents_CFYX));

    render::Prepared other = maker.prepare(settings);
    other.inputs_hash = "another";
    CHECK(maker.render({settings, other, checkpointing, silent()}).resumed_step == 0);
  }
}

TEST_CASE("a line of pixels is not brought to gigabytes for the image encoder") {
  settings::Settings settings = settings_of("clip", "pipeline");
  const render::VideoMaker maker(f32_on_cpu(GoldenRun("clip").model_dir()));
  settings.image = test::golden_path("clip/line.png");
  const auto thrown = test::thrown_by([&] { maker.prepare(settings); });
  CHECK(thrown.kind == base::ErrorKind::job);
  CHECK(test::contains(thrown.message, "50 times as long as wide"));
}

TEST_CASE("a picture that cannot be read is the job's error, which names field and file") {
  const test::TempFolder folder;
  settings::Settings settings = settings_of("i2v", "run_last");
  const render::VideoMaker maker(f32_on_cpu(GoldenRun("i2v").model_dir()));
  settings.last_image = folder.write("last.png", "no picture");
  const auto thrown = test::thrown_by([&] { maker.prepare(settings); });
  CHECK(thrown.kind == base::ErrorKind::job);
  CHECK(thrown.message == "last_image: " + settings.last_image + ": is no PNG, JPEG or WebP picture");
}

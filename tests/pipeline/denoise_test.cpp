#include "nightreel/pipeline/denoise.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>

#include "pipeline/golden_run.h"
#include "support/error.h"
#include "support/gap.h"

using namespace nightreel;
using pipeline::AfterStep;
using pipeline::Denoiser;
using pipeline::DenoiseState;
using test::contains;
using test::error_of;
using test::gap;
using test::GoldenRun;

TEST_CASE("a whole run gives diffusers' latents, from the seed alone, with one expert and with two, by any sampler") {
  const std::vector<std::pair<const char*, const char*>> runs{
      {"plain", "pipeline"},         {"experts", "pipeline"},       {"half", "pipeline"},
      {"plain", "run_dpm"},          {"plain", "run_euler"},        {"experts", "run_dpm"},
      {"experts", "run_euler"},      {"experts", "run_four"},       {"experts", "run_four_dpm"},
      {"experts", "run_four_euler"}, {"experts", "run_half_guided"}};
  for (const auto& [name, recorded] : runs) {
    CAPTURE(name);
    CAPTURE(recorded);
    const GoldenRun golden(name, recorded);
    const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
    std::vector<at::Tensor> after_step;
    pipeline::DenoiseObserver observer;
    observer.on_step = [](std::int64_t, std::int64_t) { return AfterStep::save; };
    observer.save = [&](const DenoiseState& state) { after_step.push_back(state.latents_CFYX); };
    const pipeline::Denoised run = denoiser.run({golden.settings, golden.prompt(), golden.negative()}, observer);
    CHECK(gap(run.latents_CFYX, golden.tensor("latents")[0]) < 2e-4F);
    REQUIRE(after_step.size() == static_cast<std::size_t>(golden.settings.num_inference_steps));
    for (std::size_t i = 0; i < after_step.size(); ++i) {
      CHECK(gap(after_step[i], golden.tensor("step." + std::to_string(i))[0]) < 2e-4F);
    }
  }
}

TEST_CASE("the second expert and its own guidance scale are used below the boundary") {
  const GoldenRun golden("experts");
  const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
  const auto latents = [&](const settings::Settings& settings) {
    return denoiser.run({settings, golden.prompt(), golden.negative()}).latents_CFYX;
  };
  settings::Settings settings = golden.settings;
  settings.guidance_scale_2 = 1.5;
  CHECK(gap(latents(settings), golden.tensor("latents")[0]) > 1e-2F);
  settings.guidance_scale_2.reset();  // as the first
  const at::Tensor same_scale = latents(settings);
  settings.guidance_scale_2 = settings.guidance_scale;
  CHECK(at::equal(latents(settings), same_scale));
  settings.boundary_ratio = 0;  // the first expert alone
  CHECK(gap(latents(settings), same_scale) > 1e-2F);
}

TEST_CASE("kept keys, or keys computed at every step, give the same latents") {
  const GoldenRun golden("plain");
  const auto latents = [&](bool keep_keys) {
    return golden.denoiser(at::kCPU, at::kFloat, keep_keys)
        .run({golden.settings, golden.prompt(), golden.negative()})
        .latents_CFYX;
  };
  CHECK(gap(latents(true), latents(false)) < 1e-5F);
}

TEST_CASE("without guidance the negative prompt is not looked at") {
  const GoldenRun golden("plain");
  const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
  settings::Settings settings = golden.settings;
  settings.guidance_scale = 1.0;
  const at::Tensor alone = denoiser.run({settings, golden.prompt(), {}}).latents_CFYX;
  settings.guidance_scale = 1.0 + 1e-9;  // guided, by nothing
  CHECK(gap(denoiser.run({settings, golden.prompt(), golden.negative()}).latents_CFYX, alone) < 1e-4F);
}

TEST_CASE("a run that goes on from any of its states gives the same bits, by any sampler") {
  for (const char* recorded : {"pipeline", "run_dpm", "run_euler", "run_four"}) {
    CAPTURE(recorded);
    const GoldenRun golden("experts", recorded);
    const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
    std::vector<DenoiseState> states;
    pipeline::DenoiseObserver observer;
    observer.on_step = [](std::int64_t, std::int64_t) { return AfterStep::save; };
    observer.save = [&](const DenoiseState& state) { states.push_back(state); };
    const at::Tensor whole = denoiser.run({golden.settings, golden.prompt(), golden.negative()}, observer).latents_CFYX;
    REQUIRE_FALSE(states.empty());
    for (const DenoiseState& state : states) {
      const auto resumed = denoiser.run({golden.settings, golden.prompt(), golden.negative(), {}, state});
      CHECK(resumed.first_step == state.sampler.next_step);
      CHECK(at::equal(resumed.latents_CFYX, whole));
    }
  }
}

TEST_CASE("a state of another size is refused") {
  const GoldenRun golden("plain");
  const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
  DenoiseState state{at::zeros({4, 3, 6, 8}), {1, {{"x0", at::zeros({1, 4, 3, 6, 8})}}}};
  const auto refusal = [&] {
    return error_of(base::ErrorKind::storage, [&] {
      denoiser.run({golden.settings, golden.prompt(), golden.negative(), {}, state});
    });
  };
  CHECK(contains(refusal(), "last_sample"));
  state.sampler.tensors.emplace("last_sample", at::zeros({1, 4, 3, 6, 9}));
  CHECK(contains(refusal(), "last_sample"));
  state.latents_CFYX = at::zeros({4, 3, 6, 8}, at::kDouble);
  CHECK(contains(refusal(), "latents"));
  state.latents_CFYX = at::Tensor();
  CHECK(contains(refusal(), "latents"));
}

TEST_CASE("the caller sees every step, may stop after one, and may cancel") {
  const GoldenRun golden("plain");
  const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
  std::vector<std::int64_t> seen;
  int saved = 0;
  pipeline::DenoiseObserver observer;
  observer.on_step = [&](std::int64_t done, std::int64_t steps) {
    CHECK(steps == 10);
    seen.push_back(done);
    return done == 3 ? AfterStep::save_and_stop : AfterStep::go_on;
  };
  observer.save = [&](const DenoiseState& state) { saved += state.sampler.next_step == 3 ? 1 : 100; };
  const auto run = [&] { denoiser.run({golden.settings, golden.prompt(), golden.negative()}, observer); };
  CHECK(contains(error_of(base::ErrorKind::interrupted, run), "step 3"));
  CHECK(seen == std::vector<std::int64_t>{1, 2, 3});
  CHECK(saved == 1);

  observer.on_step = [&](std::int64_t done, std::int64_t) {
    if (done == 2) observer.cancel.cancel();
    seen.push_back(done);
    return AfterStep::go_on;
  };
  seen.clear();
  CHECK(contains(error_of(base::ErrorKind::interrupted, run), "cancelled"));
  CHECK(seen == std::vector<std::int64_t>{1, 2});
}

TEST_CASE("latents that are not finite end the run at that step") {
  const GoldenRun golden("plain");
  const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
  const at::Tensor bad = golden.prompt().clone();
  bad[0][1][2] = std::numeric_limits<float>::quiet_NaN();
  const auto run = [&] { denoiser.run({golden.settings, bad, golden.negative()}); };
  CHECK(contains(error_of(base::ErrorKind::numeric, run), "after step 1 of 10"));
}

TEST_CASE("settings that the model cannot do are errors that name them") {
  const GoldenRun golden("plain");
  const Denoiser denoiser = golden.denoiser(at::kCPU, at::kFloat);
  CHECK_NOTHROW(denoiser.check(golden.settings));
  struct Case {
    const char* says;
    void (*change)(settings::Settings&);
  };
  for (const Case& c : {
           Case{"height: 47", [](settings::Settings& s) { s.height = 47; }},
           Case{"height: 0", [](settings::Settings& s) { s.height = 0; }},
           Case{"width: 40", [](settings::Settings& s) { s.width = 40; }},
           Case{"num_frames: 8", [](settings::Settings& s) { s.num_frames = 8; }},
           Case{"num_frames: -3", [](settings::Settings& s) { s.num_frames = -3; }},
           Case{"boundary_ratio", [](settings::Settings& s) { s.boundary_ratio = 0.9; }},
           Case{"guidance_scale",
                [](settings::Settings& s) { s.guidance_scale = std::numeric_limits<double>::infinity(); }},
           Case{"guidance_scale",
                [](settings::Settings& s) { s.guidance_scale_2 = std::numeric_limits<double>::quiet_NaN(); }},
           Case{"num_inference_steps", [](settings::Settings& s) { s.num_inference_steps = 0; }},
           Case{"flow_shift", [](settings::Settings& s) { s.flow_shift = 0; }},
           Case{"sampler: \"heun\"", [](settings::Settings& s) { s.sampler = "heun"; }},
           Case{"sigmas",
                [](settings::Settings& s) {
                  s.sigmas = {0.5, 1.0};
                }},
           Case{"image", [](settings::Settings& s) { s.image = "/a.png"; }},
       }) {
    CAPTURE(c.says);
    settings::Settings settings = golden.settings;
    c.change(settings);
    CHECK(contains(error_of(base::ErrorKind::job, [&] { denoiser.check(settings); }), c.says));
    CHECK(contains(error_of(base::ErrorKind::job,
                            [&] {
                              denoiser.run({settings, golden.prompt(), golden.negative()});
                            }),
                   c.says));
  }
}

TEST_CASE("bfloat16 stays finite and near") {
  const GoldenRun golden("plain");
  const auto run = golden.denoiser(at::kCPU, at::kBFloat16).run({golden.settings, golden.prompt(), golden.negative()});
  const at::Tensor want = golden.tensor("latents")[0];
  CHECK(gap(run.latents_CFYX, want) < 0.2F);
  CHECK(((run.latents_CFYX - want).norm() / want.norm()).item<float>() < 0.02F);
}

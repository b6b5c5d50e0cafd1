// Weights that come and go, on the checked device: a weight that was left on the host is an error there.
#include "pipeline/residency.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>

#include "nightreel/memory/plan.h"
#include "nightreel/model/vae.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/pipeline/pipeline.h"
#include "pipeline/golden_run.h"
#include "pipeline/moving.h"
#include "support/checked_device.h"

using namespace nightreel;
using memory::MemoryPlan;
using memory::Part;
using pipeline::Pipeline;
using test::GoldenRun;
using test::moving_plan;
using Experts = MemoryPlan::Experts;

namespace {

const std::vector<MemoryPlan> kPlans{
    moving_plan(true, Experts::stay, false), moving_plan(false, Experts::take_turns, false),
    moving_plan(true, Experts::take_turns, true), moving_plan(true, Experts::leave, true),
    moving_plan(false, Experts::leave, false)};

constexpr std::int64_t kSteps = 4;  // enough for both experts

/// Latents and frames of one video, and the bytes on the device before each of its steps.
struct Made {
  at::Tensor embeds, latents, frames;
  std::vector<std::size_t> bytes;
};

Made make(Pipeline& pipeline, const GoldenRun& golden, std::int64_t token) {
  Made made;
  settings::Settings settings = golden.settings;
  settings.num_inference_steps = kSteps;
  made.embeds = pipeline.encode_prompt({token, 17, 99, 3, 1}).embeds_1TE.cpu();
  const auto image = pipeline.encode_pictures(settings, golden.pictures());
  pipeline::DenoiseObserver observer;
  observer.on_step = [&](std::int64_t, std::int64_t) {
    made.bytes.push_back(test::checked_device_bytes());
    return pipeline::AfterStep::go_on;
  };
  made.latents = pipeline.denoise({settings, golden.prompt(), golden.negative(), image}, observer).latents_CFYX;
  made.frames = test::decoded(pipeline, made.latents);
  return made;
}

pipeline::PipelineOptions on_checked_device(const MemoryPlan& plan) {
  pipeline::PipelineOptions options;
  options.device = test::checked_device();
  options.plan = plan;
  return options;
}

/// Two weights of a module of its own.
struct Module {
  at::Tensor first = at::arange(6, at::kFloat).view({2, 3}).to(test::checked_device());
  at::Tensor second = at::rand({4, 3, 2, 2}).contiguous(at::MemoryFormat::ChannelsLast).to(test::checked_device());
  pipeline::MovingWeights moving{test::checked_device(), [this](const model::WeightVisitor& visit) {
                                   visit(first);
                                   visit(second);
                                 }};
};

}  // namespace

TEST_CASE("weights that come and go give the numbers of weights that stay, video after video") {
  for (const auto& [name, run] : std::vector<std::pair<const char*, const char*>>{
           {"experts", "pipeline"}, {"i2v", "run_last"}, {"clip", "pipeline"}, {"ti2v", "run_image"}}) {
    CAPTURE(name);
    const GoldenRun golden(name, run);
    Pipeline staying = Pipeline::load(card::read(golden.model_dir()), on_checked_device({}));
    const Made wanted = make(staying, golden, 5);
    for (const MemoryPlan& plan : kPlans) {
      Pipeline moving = Pipeline::load(card::read(golden.model_dir()), on_checked_device(plan));
      for (int video = 0; video < 2; ++video) {
        const Made made = make(moving, golden, video == 0 ? 5 : 6);  // another prompt: the text encoder comes back
        CHECK(at::equal(made.embeds, wanted.embeds) == (video == 0));
        CHECK(at::equal(made.latents, wanted.latents));
        CHECK(at::equal(made.frames, wanted.frames));
      }
    }
  }
}

TEST_CASE("what leaves is no longer on the device") {
  const GoldenRun golden("experts");
  const memory::MemoryModel model =
      pipeline::memory_model(card::read(golden.model_dir()), {at::kFloat, false, std::nullopt});
  std::vector<std::size_t> most;
  for (const MemoryPlan& plan :
       {MemoryPlan{}, moving_plan(false, Experts::take_turns, false), moving_plan(true, Experts::leave, true)}) {
    const std::size_t before = test::checked_device_bytes();
    Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), on_checked_device(plan));
    const auto bytes = make(pipeline, golden, 5).bytes;
    most.push_back(*std::max_element(bytes.begin(), bytes.end()) - before);
  }
  const auto near = [](std::size_t a, std::size_t b) { return a < b + b / 10 && b < a + a / 10; };
  CHECK(near(most[0] - most[1], model.of(Part::transformer)));
  CHECK(near(most[1] - most[2], model.of(Part::text_encoder) + model.of(Part::vae)));
}

TEST_CASE("a plan may change between videos") {
  const GoldenRun golden("experts");
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), on_checked_device({}));
  const Made wanted = make(pipeline, golden, 5);
  for (const MemoryPlan& plan : kPlans) {
    pipeline.adopt(plan);
    CHECK(at::equal(make(pipeline, golden, 5).latents, wanted.latents));
    pipeline.adopt({});
    CHECK(at::equal(make(pipeline, golden, 5).latents, wanted.latents));
  }
}

TEST_CASE("weights come back as they left: values, shape and order in memory") {
  Module module;
  const at::Tensor first = module.first.cpu();
  const at::Tensor second = module.second.cpu();
  const auto strides = module.second.strides().vec();
  for (int round = 0; round < 3; ++round) {
    module.moving.leave();
    module.moving.leave();  // nothing to do
    CHECK_FALSE(module.moving.here());
    CHECK(module.first.is_cpu());
    CHECK(at::equal(module.second, second));
    module.moving.bring();
    module.moving.bring();
    CHECK(module.moving.here());
    CHECK(module.first.is_privateuseone());
    CHECK(at::equal(module.first.cpu(), first));
    CHECK(at::equal(module.second.cpu(), second));
    CHECK(module.second.strides().vec() == strides);
  }
}

TEST_CASE("a weight that was exchanged, here or away, is the one that comes back") {
  Module module;
  const at::Tensor merged = at::full({2, 3}, 7.0F);
  const at::Tensor other = at::full({2, 3}, 8.0F);
  module.moving.leave();
  module.moving.bring();
  const at::Tensor base = module.first;
  module.first = merged.to(test::checked_device());  // as a LoRA is merged
  module.moving.leave();
  CHECK(at::equal(module.first, merged));
  module.moving.bring();
  CHECK(at::equal(module.first.cpu(), merged));
  module.first = base;  // and undone
  module.moving.leave();
  module.moving.bring();
  CHECK(at::equal(module.first.cpu(), base.cpu()));
  for (const at::Device device : {at::Device(at::kCPU), test::checked_device()}) {
    module.moving.leave();
    module.first = other.to(device);
    for (int round = 0; round < 2; ++round) {
      module.moving.bring();
      CHECK(module.first.is_privateuseone());
      CHECK(at::equal(module.first.cpu(), other));
      module.moving.leave();
    }
    module.moving.bring();
    module.first = base;
  }
}

TEST_CASE("tiles are decoded and encoded where the plan says so") {
  const GoldenRun golden("plain");
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), {});
  MemoryPlan tiled;
  tiled.tiled = {true, true};
  const at::Tensor latents_CFYX = at::randn({4, 2, 8, 40});  // two tiles wide
  const auto decode = [&] {
    std::vector<at::Tensor> pieces;
    pipeline.decode(latents_CFYX, [&](const at::Tensor& piece) { pieces.push_back(piece); });
    return pieces;
  };
  const auto whole = decode();
  pipeline.adopt(tiled);
  const auto in_tiles = decode();
  CHECK(whole.size() == 2);
  REQUIRE(in_tiles.size() == 1);
  CHECK_FALSE(at::equal(at::cat(whole), in_tiles[0]));
  const auto vae = model::Vae::load(golden.model_dir() + "/vae", at::kCPU, at::kFloat);
  const at::Tensor tiles_13FHW = vae.decode_tiled(latents_CFYX.unsqueeze(0), {}, at::kByte);
  CHECK(at::equal(in_tiles[0], tiles_13FHW[0].permute({1, 2, 3, 0})));
}

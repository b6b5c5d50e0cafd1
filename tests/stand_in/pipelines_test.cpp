// Whole pipelines on the computing stand-in against the CPU's of the same run, and weights that come and go.
//
// C channels, F frames, Y rows, X columns of the latents.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include "nightreel/memory/plan.h"
#include "nightreel/pipeline/pipeline.h"
#include "pipeline/golden_run.h"
#include "pipeline/moving.h"
#include "pipeline/residency.h"

using namespace nightreel;
using memory::MemoryPlan;
using pipeline::Pipeline;
using test::GoldenRun;
using test::moving_plan;
using Experts = MemoryPlan::Experts;

namespace {

const at::Device kGpu(at::kCUDA, 0);

struct Made {
  at::Tensor latents_CFYX;
  at::Tensor frames_FHW3;
};

pipeline::PipelineOptions options_of(at::Device device, at::ScalarType dtype, const MemoryPlan& plan = {}) {
  pipeline::PipelineOptions options;
  options.device = device;
  options.dtype = dtype;
  options.plan = plan;
  return options;
}

Made make(Pipeline& pipeline, const GoldenRun& golden, std::int64_t token = 5) {
  const at::Tensor prompt = pipeline.encode_prompt({token, 17, 99, 3, 1}).embeds_1TE;
  const at::Tensor negative = pipeline.encode_prompt({9, 1}).embeds_1TE;
  const auto image = pipeline.encode_pictures(golden.settings, golden.pictures());
  Made made;
  made.latents_CFYX = pipeline.denoise({golden.settings, prompt, negative, image}).latents_CFYX;
  made.frames_FHW3 = test::decoded(pipeline, made.latents_CFYX);
  return made;
}

Made make(const GoldenRun& golden, at::Device device, at::ScalarType dtype) {
  Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), options_of(device, dtype));
  return make(pipeline, golden);
}

struct Gap {
  double mean;
  double most;
};

Gap gap(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor error = (a.to(at::kDouble) - b.to(at::kDouble)).abs();
  return {error.mean().item<double>(), error.max().item<double>()};
}

const std::vector<MemoryPlan> kPlans{
    moving_plan(true, Experts::stay, false), moving_plan(false, Experts::take_turns, false),
    moving_plan(true, Experts::take_turns, true), moving_plan(true, Experts::leave, true)};

}  // namespace

TEST_CASE("whole videos in float32 are the CPU's") {
  for (const auto& [name, run] : std::vector<std::pair<const char*, const char*>>{{"plain", "pipeline"},
                                                                                  {"experts", "pipeline"},
                                                                                  {"half", "pipeline"},
                                                                                  {"ti2v", "run_image"},
                                                                                  {"i2v", "run_last"},
                                                                                  {"clip", "pipeline"},
                                                                                  {"first_last", "pipeline"}}) {
    CAPTURE(name);
    const GoldenRun golden(name, run);
    const Made here = make(golden, at::kCPU, at::kFloat);
    const Made there = make(golden, kGpu, at::kFloat);
    CHECK(gap(there.latents_CFYX, here.latents_CFYX).most < 2e-4);
    CHECK(gap(there.frames_FHW3, here.frames_FHW3).most <= 1);
  }
}

TEST_CASE("whole videos in bfloat16 are no further from float32 than the CPU's own are") {
  for (const auto& [name, run] : std::vector<std::pair<const char*, const char*>>{
           {"plain", "pipeline"}, {"experts", "pipeline"}, {"ti2v", "run_image"}, {"clip", "pipeline"}}) {
    CAPTURE(name);
    const GoldenRun golden(name, run);
    const at::Tensor exact = make(golden, at::kCPU, at::kFloat).latents_CFYX;
    const Gap here = gap(make(golden, at::kCPU, at::kBFloat16).latents_CFYX, exact);
    const Gap there = gap(make(golden, kGpu, at::kBFloat16).latents_CFYX, exact);
    MESSAGE("mean ", there.mean, " of ", here.mean, ", largest ", there.most, " of ", here.most);
    CHECK(there.mean <= 1.25 * here.mean);
    CHECK(there.most <= 1.5 * here.most);
  }
}

TEST_CASE("weights that wait in pinned memory give the numbers of weights that stay") {
  const GoldenRun golden("experts");
  Pipeline staying = Pipeline::load(card::read(golden.model_dir()), options_of(kGpu, at::kFloat));
  for (const MemoryPlan& plan : kPlans) {
    Pipeline moving = Pipeline::load(card::read(golden.model_dir()), options_of(kGpu, at::kFloat, plan));
    for (const std::int64_t token : {5, 6}) {
      const Made wanted = make(staying, golden, token);
      const Made made = make(moving, golden, token);
      CHECK(at::equal(made.latents_CFYX, wanted.latents_CFYX));
      CHECK(at::equal(made.frames_FHW3, wanted.frames_FHW3));
    }
  }
}

TEST_CASE("a weight that leaves and comes back at once is itself, whatever was waited for") {
  at::Tensor weight = at::arange(6, at::kFloat).view({2, 3}).to(kGpu);
  const at::Tensor before = weight.cpu();
  pipeline::MovingWeights moving(kGpu, [&](const model::WeightVisitor& visit) { visit(weight); });
  for (int round = 0; round < 3; ++round) {
    moving.leave();
    CHECK(weight.is_cpu());
    moving.bring();
    CHECK(weight.is_cuda());
    CHECK(at::equal(weight.cpu(), before));
  }
}

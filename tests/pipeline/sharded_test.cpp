// A video of a group that keeps the transformers in shards has the bits of one that keeps them whole.
#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "comm/host_copies.h"
#include "comm/store_group.h"
#include "nightreel/base/error.h"
#include "nightreel/memory/plan.h"
#include "pipeline/golden_run.h"
#include "support/checked_device.h"

using namespace nightreel;
using pipeline::Pipeline;
using test::GoldenRun;
using test::kLong;
using Experts = memory::MemoryPlan::Experts;

namespace {

pipeline::PipelineOptions options_for(const model::ShardSeat& seat, at::Device device = at::kCPU) {
  pipeline::PipelineOptions options;
  options.device = device;
  options.shard = seat;
  return options;
}

at::Tensor latents_of(Pipeline& pipeline, const GoldenRun& golden) {
  settings::Settings settings = golden.settings;
  if (settings.sigmas.empty()) settings.num_inference_steps = 4;  // enough for both experts
  pipeline::LoraFiles files;
  pipeline.use_loras(pipeline::open_loras(golden.settings.loras, files));
  const auto image = pipeline.encode_pictures(settings, golden.pictures());
  return pipeline.denoise({settings, golden.prompt(), golden.negative(), image}).latents_CFYX;
}

/// The latents of `runs`, one after the other, over all of `group`.
std::vector<at::Tensor> videos(const char* name, const std::vector<const char*>& runs,
                               const pipeline::PipelineOptions& options, std::unique_ptr<comm::Communicator> group) {
  Pipeline pipeline = Pipeline::load(card::read(GoldenRun(name).model_dir()), options);
  pipeline.share(std::move(group));
  std::vector<at::Tensor> latents;
  for (const char* run : runs) latents.push_back(latents_of(pipeline, GoldenRun(name, run)));
  pipeline.share(nullptr);
  return latents;
}

/// Which of `runs` differ between a group that keeps all and one that keeps shares, as text.
std::string differing(const char* name, const std::vector<const char*>& runs, comm::Communicator& group) {
  const auto whole = videos(name, runs, options_for({}), group.split(0));
  const auto sharded = videos(name, runs, options_for({group.rank(), group.size()}), group.split(0));
  std::string wrong;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!at::equal(whole[i], sharded[i])) wrong += std::string(name) + " " + runs[i] + "; ";
  }
  return wrong;
}

}  // namespace

TEST_CASE("2 and 3 ranks with a share each render the bits of ranks with all weights, with LoRAs and without") {
  for (const int size : {2, 3}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [](comm::Communicator& group) {
      // An expert that is not guided beside one that is: in groups of two both as halves and as one sequence.
      std::string wrong =
          differing("experts", {"run_half_guided", "run_lora_both", "pipeline", "run_lora_apart"}, group);
      wrong += differing("clip", {"run_lora_comfy", "pipeline"}, group);
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("shards come and go with their expert, and those that LoRAs have changed come back changed") {
  const auto outcomes = test::in_group(2, kLong, [](comm::Communicator& group) {
    const std::vector<const char*> runs{"pipeline", "run_lora_both", "run_lora_both", "pipeline"};
    const at::Device device = test::checked_device();
    const auto wanted =
        videos("experts", runs, options_for({}, device), std::make_unique<test::HostCopies>(group.split(0)));
    std::string wrong;
    for (const Experts experts : {Experts::take_turns, Experts::leave}) {
      pipeline::PipelineOptions sharded = options_for({group.rank(), group.size()}, device);
      sharded.plan.experts = experts;
      sharded.plan.two_experts = true;
      const auto got = videos("experts", runs, sharded, std::make_unique<test::HostCopies>(group.split(0)));
      for (std::size_t i = 0; i < runs.size(); ++i) wrong += at::equal(got[i], wanted[i]) ? "" : runs[i];
    }
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

TEST_CASE("a group that has become smaller shards its weights anew, and who is left alone has them whole") {
  const auto outcomes = test::in_group(3, kLong, [](comm::Communicator& group) {
    const GoldenRun golden("experts");
    const GoldenRun with_loras("experts", "run_lora_both");
    Pipeline pipeline = Pipeline::load(card::read(golden.model_dir()), options_for({group.rank(), group.size()}));
    pipeline.share(group.split(0));
    latents_of(pipeline, with_loras);
    pipeline.share(nullptr);
    std::string wrong;
    try {
      latents_of(pipeline, golden);
      wrong += "nothing thrown; ";
    } catch (const base::Error& e) {
      if (std::string(e.what()).find("sharded over 3 ranks, and 1 render") == std::string::npos) wrong += e.what();
    }
    auto part = group.split(group.rank() == 2 ? 1 : 0);
    pipeline.reshard({part->rank(), part->size()});
    pipeline.share(part->split(0));
    const at::Tensor latents = latents_of(pipeline, golden);
    pipeline.share(nullptr);
    const auto whole = videos("experts", {"pipeline"}, options_for({}), std::move(part));
    if (!at::equal(latents, whole[0])) wrong += "other latents; ";
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

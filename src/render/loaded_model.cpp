#include "render/loaded_model.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/card/card.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/job/recipe.h"
#include "nightreel/memory/text.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/render/device.h"
#include "render/loading.h"

namespace nightreel::render {
namespace {

// Where not even the smallest video fits, the renderer has nothing to do here.
memory::MemoryPlan first_plan(const card::Card& card, const memory::DeviceMemory& memory) {
  settings::Settings settings = job::recipe_for(card, job::RecipeChoice::automatic).defaults;
  const memory::MemoryPlan plan = memory::plan_memory(memory, settings);
  const bool roomy = memory.model.gpu || memory.host_bytes == 0 || plan.peak().bytes() <= memory.host_bytes;
  if (plan.fits && roomy) return plan;
  settings.height = card.height_multiple();
  settings.width = card.width_multiple();
  settings.num_frames = card.least_frames();
  try {
    memory::fitting_plan(memory, settings);
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::environment,
                      base::printable(card.folder) + ": not even its smallest video: " + e.what());
  }
  return plan;
}

pipeline::PipelineOptions pipeline_options(const MakerOptions& options, at::Device device) {
  pipeline::PipelineOptions wanted;
  wanted.device = device;
  wanted.dtype = pipeline::choose_dtype(options.dtype, device);
  wanted.fp8 = pipeline::holds_fp8(options.dtype);
  wanted.shard = {options.shard.rank, options.shard.size};
  return wanted;
}

memory::DeviceMemory whole_memory(const MakerOptions& options, const card::Card& card,
                                  const pipeline::PipelineOptions& wanted) {
  const at::Device device = wanted.device;
  return {pipeline::memory_model(card, pipeline::precision_on(device, wanted.dtype, wanted.fp8, wanted.keep_keys)),
          options.gpu_memory > 0 ? options.gpu_memory : pipeline::memory_to_plan_with(device), options.memory_failed,
          device.is_cuda() ? pipeline::host_memory_for(options.host_ranks) : pipeline::host_memory_limit()};
}

void describe_model(protocol::ReadyEvent& facts, const MakerOptions& options, const card::Card& card,
                    const pipeline::PipelineOptions& wanted) {
  const std::string precision = wanted.fp8 ? "fp8" : wanted.dtype == at::kFloat ? "f32" : "bf16";
  facts.model = {{"path", std::filesystem::absolute(options.model).lexically_normal().string()},
                 {"digest", facts.model_digest},
                 {"card", card::to_json(card)},
                 {"dtype", precision}};
}

}  // namespace

std::unique_ptr<LoadedModel> load_model(const MakerOptions& options, std::unique_ptr<comm::Communicator> loading) {
  const base::Stopwatch watch;
  card::Card card = card::read(options.model);
  card::check_supported(card);
  const at::Device device = pipeline::choose_device(options.device);
  at::set_num_threads(options.threads);
  if (!options.stage.empty()) card.folder = stage_weights(options.model, options.stage, options.log);
  pipeline::PipelineOptions wanted = pipeline_options(options, device);
  protocol::ReadyEvent facts;
  describe_device(device, facts);
  const memory::DeviceMemory whole = whole_memory(options, card, wanted);
  memory::DeviceMemory memory = whole;
  memory.model = memory::in_shards(whole.model, options.shard.size);
  wanted.plan = first_plan(card, memory);
  auto tokenizer = text::Tokenizer::load(card::tokenizer_folder(card.folder));
  Loaded loaded = load_checkpoint(card, wanted, std::move(loading), options.log);
  auto model = std::make_unique<LoadedModel>(std::move(tokenizer), std::move(loaded.pipeline));
  facts.memory = memory::to_json(memory);
  facts.plan = memory::to_json(wanted.plan);
  facts.model_digest = loaded.digest;
  facts.load = loaded.report;
  describe_model(facts, options, card, wanted);
  facts.load_s = watch.seconds();
  model->facts = facts;
  model->memory = whole;
  model->planned = wanted.shard;
  model->held = wanted.shard;
  model->log = options.log;
  model->device = device;
  return model;
}

void LoadedModel::share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline) {
  if (!group) {
    agreement.reset();
    seat = {};
    pipeline.share(nullptr);
  } else if (group->size() > 1) {
    auto together = std::make_unique<Agreement>(*group, device, deadline);
    memory.bytes = together->least_memory(memory.bytes);
    seat = {group->rank(), group->size()};
    pipeline.share(std::move(group));
    agreement = std::move(together);
  }
}

memory::DeviceMemory LoadedModel::memory_here() const {
  memory::DeviceMemory here = memory;
  here.model = memory::in_shards(memory.model, planned.sharded() ? seat.size : 1);
  here.model.group = seat.size;
  if (most > 0 && most < here.bytes) here.bytes = most;
  return here;
}

memory::MemoryPlan LoadedModel::plan_for(const settings::Settings& settings) const {
  const memory::DeviceMemory here = memory_here();
  try {
    return memory::fitting_plan(here, settings);
  } catch (const base::Error& e) {
    if (!here.failed.empty()) {  // by the figures it would fit: another renderer may have the room
      throw base::Error(base::ErrorKind::device_memory, std::string(e.what()) + "; plans that needed " +
                                                            memory::to_text(here.failed) +
                                                            " bytes have run out of memory here");
    }
    if (seat.size >= planned.size) throw;
    throw base::Error(base::ErrorKind::device_memory,
                      std::string(e.what()) + "; weights were to be sharded over " + std::to_string(planned.size) +
                          " ranks, and " + std::to_string(seat.size) + (seat.size == 1 ? " is" : " are") +
                          " left: start the run again");
  }
}

void LoadedModel::follow(const memory::MemoryPlan& next) {
  plan = next;
  pipeline.adopt(plan);
}

std::optional<memory::MemoryPlan> LoadedModel::plan_after_failure(const std::string& stage,
                                                                  const settings::Settings& settings) {
  std::uint64_t& failed = memory.failed[stage];
  const std::uint64_t needed = plan.bytes_at(stage);
  failed = failed == 0 ? needed : std::min(failed, needed);
  pipeline::release_all_unused(device);
  return memory::next_plan(memory_here(), settings, plan);
}

void LoadedModel::adopt(const Video& video) {
  pipeline.check(video.settings);
  follow(plan_for(video.settings));
  pipeline.use_loras(video.prepared.loras);
}

void LoadedModel::reshard() {
  if (!planned.sharded() || held == seat) return;
  log.warn("shard-weights", "the transformers' blocks were sharded over " + std::to_string(held.size) + " ranks, and " +
                                std::to_string(seat.size) + " render: they are read again");
  pipeline.reshard(seat);
  held = seat;
}

StateKey LoadedModel::key(const Video& video) const {
  const auto precision = facts.model.at("dtype").get<std::string>();
  const std::string how = plan.tiled.encode ? " encoded in tiles" : "";
  return state_key(video.settings, video.prepared.inputs_hash + " " + precision + how, facts.model_digest,
                   video.saving.job);
}

}  // namespace nightreel::render

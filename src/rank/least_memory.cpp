#include "rank/least_memory.h"

#include <algorithm>
#include <optional>

#include "nightreel/job/resolve.h"
#include "rank/startup.h"

namespace nightreel::rank {
namespace {

job::DeviceMemory memory_of(const protocol::ReadyEvent& ready) {
  try {
    return job::device_memory_from_json(ready.memory);
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::renderer, std::string("ready: ") + e.what());
  }
}

std::int64_t pixels(const job::Settings& settings) {
  return settings.height * settings.width * settings.num_frames;
}

}  // namespace

job::DeviceMemory least_memory(cluster::World& world, const protocol::ReadyEvent& ready) {
  job::DeviceMemory memory;
  do_together(world, "the renderers' memory", [&] { memory = memory_of(ready); });
  for (const auto& text : world.all_gather(std::to_string(memory.bytes), kWorldDeadline, "the renderers' memory")) {
    const std::uint64_t bytes = std::stoull(text);
    if (bytes > 0) memory.bytes = memory.bytes == 0 ? bytes : std::min(memory.bytes, bytes);
  }
  return memory;
}

void log_plan(const base::Logger& log, const protocol::ReadyEvent& ready, const std::vector<job::Job>& jobs,
              const job::ModelCard& card, const job::Recipe& recipe) {
  const job::DeviceMemory memory = memory_of(ready);
  std::optional<job::Settings> largest;
  for (const auto& job : jobs) {
    job::Settings settings = job::resolve(job, card, recipe);
    if (!largest || pixels(settings) > pixels(*largest)) largest = std::move(settings);
  }
  const job::Settings& shown = largest ? *largest : recipe.defaults;
  log.info("memory", job::summary(job::plan_memory(memory.model, shown, memory.bytes), shown));
}

}  // namespace nightreel::rank

#include "rank/least_memory.h"

#include <algorithm>
#include <optional>

#include "nightreel/job/resolve.h"
#include "nightreel/memory/plan.h"
#include "nightreel/memory/text.h"

namespace nightreel::rank {
namespace {

memory::DeviceMemory memory_of(const protocol::Json& told) {
  try {
    return memory::device_memory_from_json(told);
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::environment, std::string("ready: ") + e.what());
  }
}

std::int64_t pixels(const settings::Settings& settings) {
  return settings.height * settings.width * settings.num_frames;
}

}  // namespace

memory::DeviceMemory least_memory(cluster::World& world, const std::optional<protocol::ReadyEvent>& ready) {
  const std::string mine = ready ? ready->memory.dump() : "";
  memory::DeviceMemory least;
  for (const auto& text : world.all_gather(mine, kWorldDeadline, "the renderers' memory")) {
    if (text.empty()) continue;
    const memory::DeviceMemory one = memory_of(protocol::Json::parse(text));
    const bool less = one.bytes > 0 && one.bytes < least.bytes;
    const bool holds_more = one.bytes == least.bytes && one.model.shards < least.model.shards;
    if (least.bytes == 0 || less || holds_more) least = one;
  }
  return least;
}

std::uint64_t least_of_equals(const std::vector<std::string>& told, const std::vector<RenderedOn>& on,
                              std::size_t rank) {
  std::uint64_t least = 0;
  for (std::size_t other = 0; other < told.size(); ++other) {
    if (on[other].gpu != on[rank].gpu) continue;
    const std::uint64_t bytes = memory_of(protocol::Json::parse(told[other])).bytes;
    if (bytes > 0 && (least == 0 || bytes < least)) least = bytes;
  }
  return least;
}

void plan_as_equals(cluster::World& world, Loaded& loaded) {
  const std::string mine = loaded.ready ? loaded.ready->memory.dump() : "null";
  const auto all = world.all_gather(mine, kWorldDeadline, "the renderers' memory");
  const std::uint64_t bytes = least_of_equals(all, loaded.on, static_cast<std::size_t>(world.rank()));
  if (loaded.ready && bytes > 0) loaded.ready->memory["bytes"] = bytes;
}

void log_plan(const base::Logger& log, const protocol::ReadyEvent& ready, const std::vector<job::Job>& jobs,
              const card::Card& card, const job::Recipe& recipe) {
  const memory::DeviceMemory memory = memory_of(ready.memory);
  std::optional<settings::Settings> largest;
  for (const auto& job : jobs) {
    settings::Settings settings = job::resolve(job, card, recipe);
    if (!largest || pixels(settings) > pixels(*largest)) largest = std::move(settings);
  }
  const settings::Settings& shown = largest ? *largest : recipe.defaults;
  log.info("memory", memory::summary(memory::plan_memory(memory, shown), shown));
}

}  // namespace nightreel::rank

// The memory by which a run judges its files' jobs before any of them is added.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/log.h"
#include "nightreel/cluster/mpi.h"
#include "nightreel/job/recipe.h"
#include "nightreel/memory/model.h"
#include "nightreel/protocol/message.h"
#include "rank/startup.h"

namespace nightreel::rank {

/// What the renderer whose device has least told: any rank may come by any job. Every rank calls it, with nothing where
/// its renderer is not up. Throws base::Error{renderer} for an answer that makes no sense, on all.
memory::DeviceMemory least_memory(cluster::World& world, const std::optional<protocol::ReadyEvent>& ready);

/// Bytes of the one that has least among the ranks whose GPU is of `rank`'s model; `told` is each rank's memory as
/// JSON, "null" where no renderer is up. 0: none says. Throws base::Error{renderer} for an answer that makes no sense.
std::uint64_t least_of_equals(const std::vector<std::string>& told, const std::vector<RenderedOn>& on,
                              std::size_t rank);

/// GPUs of one model are planned with the least memory that one of them has free, so that their videos are made in one
/// way: `loaded.ready` says so afterwards. Every rank calls it.
void plan_as_equals(cluster::World& world, Loaded& loaded);

/// Tells this rank's own plan for the largest of the run's videos; without any, for one of the recipe.
void log_plan(const base::Logger& log, const protocol::ReadyEvent& ready, const std::vector<job::Job>& jobs,
              const card::Card& card, const job::Recipe& recipe);

}  // namespace nightreel::rank

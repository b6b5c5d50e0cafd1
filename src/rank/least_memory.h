// The memory by which a run judges its files' jobs before any of them is added.
#pragma once

#include <vector>

#include "nightreel/base/log.h"
#include "nightreel/cluster/mpi.h"
#include "nightreel/job/memory.h"
#include "nightreel/job/recipe.h"
#include "nightreel/protocol/message.h"

namespace nightreel::rank {

/// What this rank's renderer told, with the bytes of the device that has least: any rank may come by any job. Every
/// rank calls it. Throws base::Error{renderer} for an answer that makes no sense.
job::DeviceMemory least_memory(cluster::World& world, const protocol::ReadyEvent& ready);

/// Tells this rank's own plan for the largest of the run's videos; without any, for one of the recipe.
void log_plan(const base::Logger& log, const protocol::ReadyEvent& ready, const std::vector<job::Job>& jobs,
              const job::ModelCard& card, const job::Recipe& recipe);

}  // namespace nightreel::rank

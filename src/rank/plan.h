// What a run is to make, known before MPI starts, and the queue that it goes to.
//
// Plain values; any thread. Throws Error{usage} or Error{job} for bad files and names, Error{model} for a folder that
// is no model.
#pragma once

#include <string>
#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/job/job.h"
#include "nightreel/job/recipe.h"
#include "nightreel/memory/model.h"
#include "nightreel/queue/redis_queue.h"
#include "nightreel/rank/options.h"

namespace nightreel::rank {

struct Plan {
  std::vector<job::Job> jobs;
  card::Card card;
  job::Recipe recipe;
};

Plan make_plan(const RunOptions& options);

queue::RedisQueueOptions queue_options(const RunOptions& options, const std::vector<queue::RedisAddress>& addresses);

/// The jobs whose videos the run answers for: its files' and --again's; of a run without files all that the queue has
/// done, but none of one that follows (its videos may have been taken away). Throws what the queue throws.
std::vector<std::string> answered_for(queue::JobQueue& jobs, const RunOptions& options, const Plan& plan);

/// Adds the plan's jobs, all or none, for the model with this digest on devices with this memory. Throws what the queue
/// throws.
void submit(queue::JobQueue& jobs, const Plan& plan, const RunOptions& options, const std::string& digest,
            const memory::DeviceMemory& memory);

}  // namespace nightreel::rank

// Finished videos in OUT that this run would make otherwise, and jobs that are to be made anew.
//
// Plain functions; the thread that uses the queue. Throw what the queue throws.
#pragma once

#include <string>
#include <vector>

#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/rank/making.h"
#include "nightreel/rank/output_folder.h"
#include "rank/plan.h"

namespace nightreel::rank {

struct Kept {
  std::string id;
  std::string difference;    // the first, for people
  std::string model_digest;  // that made it; empty: the sidecar does not say
};

/// Of the plan's jobs, in their order: those whose own set stands in OUT, made otherwise (making.h).
std::vector<Kept> made_otherwise(const Plan& plan, const OutputFolder& out, const Making& making);

/// "3 videos made otherwise: a, b, c"; the first ten ids.
std::string kept_line(const std::vector<Kept>& kept);

/// Has these jobs made anew: those that are done, failed or cancelled are pending again. Throws Error{usage} for an id
/// that the queue does not know, naming `flag`.
void make_again(queue::JobQueue& jobs, const std::vector<std::string>& ids, const std::string& flag,
                const base::Logger& log);

}  // namespace nightreel::rank

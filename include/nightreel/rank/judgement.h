// What a run has come to: its jobs as the queue has them at the end, and the one exit code that follows.
//
// No state; the thread that uses the queue. Nothing is thrown: a queue that is away is part of the judgement.
#pragma once

#include <string>
#include <vector>

#include "nightreel/queue/job_queue.h"
#include "nightreel/report/run_summary.h"

namespace nightreel::rank {

/// Fills in `jobs`, `held_elsewhere`, `error` and `exit_code` of a summary that has its `run` and `ranks`. `given`: the
/// ids of the run's files. Counted are these jobs, and those that ended on one of the ranks.
void judge(queue::JobQueue& jobs, const std::vector<std::string>& given, bool failed_ok, report::RunSummary& summary);

}  // namespace nightreel::rank

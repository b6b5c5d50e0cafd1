// What a run has come to: its jobs as the queue has them at the end, and the one exit code that follows.
//
// No state; the thread that uses the queue. Nothing is thrown: a queue that is away is part of the judgement.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nightreel/queue/job_queue.h"
#include "nightreel/report/run_summary.h"

namespace nightreel::rank {

/// What the run itself knows better of a given job than the queue, which says `now` of it.
using OwnWord = std::function<queue::JobView(const queue::JobView& now)>;

/// Fills in `jobs`, `rejected`, `held_elsewhere`, `error` and `exit_code` of a summary that has its `run` and `ranks`.
/// `given`: the ids of the run's files. Counted are these jobs, and those that ended on one of the ranks. A given job
/// that has not ended, or that nobody knows, is work that is left.
void judge(queue::JobQueue& jobs, const std::vector<std::string>& given, bool failed_ok, report::RunSummary& summary,
           const OwnWord& own = nullptr);

}  // namespace nightreel::rank

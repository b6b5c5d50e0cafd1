// Jobs on their way into a queue: what `submit`, `run` and the inbox have in common.
//
// Owns nothing; may be called from any thread that may use the queue.
#pragma once

#include <vector>

#include "nightreel/job/job.h"
#include "nightreel/queue/job_queue.h"

namespace nightreel::queue {

/// The job as the queue takes it.
Submission submission_of(const job::Job& job);

/// One entry per job, in their order. Throws Error{usage} naming file and line where an id is known with other content
/// and options.overwrite is not set; nothing is added then. Throws what JobQueue::submit throws.
std::vector<Submitted> submit_jobs(JobQueue& queue, const std::vector<job::Job>& jobs, const SubmitOptions& options);

}  // namespace nightreel::queue

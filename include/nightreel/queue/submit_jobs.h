// Jobs on their way into a queue: what `submit`, `run` and the inbox have in common.
//
// Owns nothing; may be called from any thread that may use the queue.
#pragma once

#include <string>
#include <vector>

#include "nightreel/job/job.h"
#include "nightreel/queue/job_queue.h"

namespace nightreel::queue {

/// Names what a job's weights are merged with: equal for equal paths, scales and experts in the same order (float32
/// sums depend on it), empty for no LoRA.
std::string lora_set(const std::vector<job::Lora>& loras);

/// The job as the queue takes it.
Submission submission_of(const job::Job& job);

/// One entry per job, in their order. Throws Error{usage} naming file and line where an id is known with other content
/// and options.overwrite is not set; nothing is added then. Throws what JobQueue::submit throws.
std::vector<Submitted> submit_jobs(JobQueue& queue, const std::vector<job::Job>& jobs, const SubmitOptions& options);

}  // namespace nightreel::queue

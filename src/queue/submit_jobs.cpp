#include "nightreel/queue/submit_jobs.h"

#include "nightreel/base/error.h"
#include "nightreel/job/lora_set.h"

namespace nightreel::queue {

Submission submission_of(const job::Job& job) {
  return {job.id,
          job.identity(),
          job.hash,
          job::pack_job(job),
          job.priority,
          job.max_attempts.value_or(0),
          job::lora_set(job.loras)};
}

std::vector<Submitted> submit_jobs(JobQueue& queue, const std::vector<job::Job>& jobs, const SubmitOptions& options) {
  std::vector<Submission> list;
  for (const auto& job : jobs) list.push_back(submission_of(job));
  auto results = queue.submit(list, options);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i] != Submitted::conflict) continue;
    throw base::Error(base::ErrorKind::usage, jobs[i].origin + ": id: " + base::printable(jobs[i].id) +
                                                  " is known with other content; --overwrite replaces it");
  }
  return results;
}

}  // namespace nightreel::queue

// What `status` shows of a queue. Plain values; any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nightreel/queue/job_queue.h"
#include "nightreel/queue/redis.h"

namespace nightreel::queue {

/// One job as view.lua returns it. Throws RedisError{protocol}.
JobView job_view(const Reply& reply);

/// The jobs that `status` lists: the running and the failed ones, or all.
std::vector<JobView> jobs_to_show(JobQueue& queue, bool all);

/// The object that `status --json` prints (docs/redis.md): inbox entries count as pending; what is not known is null.
nlohmann::json status_json(const std::string& queue_name, const Counts& counts, const std::vector<JobView>& jobs);

}  // namespace nightreel::queue

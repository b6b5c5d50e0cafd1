// Whether what is done stands in OUT, by the run's own eyes, before it says so with its exit code.
//
// Uses what belongs to the run, which must outlive it; one thread, that of the queue. Nothing is thrown: what keeps it
// from seeing is an answer too.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/rank/output_folder.h"
#include "nightreel/rank/signals.h"

namespace nightreel::rank {

class LastLook {
 public:
  using Ids = std::function<std::vector<std::string>()>;
  static constexpr double kWhenStopped_s = 0.45;  // what a run that was told to stop takes for its end

  LastLook(const OutputFolder& out, queue::JobQueue& jobs, std::string host, const Signals& signals,
           const base::Logger& log)
      : out_(out), jobs_(jobs), host_(std::move(host)), signals_(signals), log_(log) {}

  /// Takes at most `limit_s`; looks anew for `again_s` where it is not sure. `ids` may ask the queue. Empty: all stand.
  std::optional<base::Error> operator()(const Ids& ids, double limit_s, double again_s = 0);

 private:
  const OutputFolder& out_;
  queue::JobQueue& jobs_;
  std::string host_;
  const Signals& signals_;
  const base::Logger& log_;
};

}  // namespace nightreel::rank

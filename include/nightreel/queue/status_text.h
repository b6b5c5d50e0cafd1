// A queue in words: what `status` prints and what a run shows while it works. Pure text; any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/queue/job_queue.h"

namespace nightreel::queue {

/// Guesses when a queue will be empty from how fast jobs ended since the first look.
class Pace {
 public:
  void look(const Counts& counts, Clock::time_point now);
  /// Nothing before the first job has ended under this object's eyes.
  std::optional<double> seconds_left() const { return left_; }

 private:
  std::optional<Clock::time_point> first_;
  std::int64_t ended_at_first_ = 0;
  std::optional<double> left_;
};

/// "3 done, 2 running, 3 waiting, 0 failed, about 40 s left"; cancelled jobs are named where there are any.
std::string totals_line(const Counts& counts, std::optional<double> seconds_left);

/// "rank 1 (node-b)  red-circle  denoise 12/20  [############........]  8 s left"; only what is known.
std::string running_line(const JobView& job);

/// What `--progress live` draws: a line for each of the `ranks` in rank order ("idle" where it runs no job), and the
/// totals. `running`: all running jobs of the queue; `run` names those that count.
std::vector<std::string> live_block(const Counts& counts, const std::vector<JobView>& running, const std::string& run,
                                    int ranks, std::optional<double> seconds_left);

}  // namespace nightreel::queue

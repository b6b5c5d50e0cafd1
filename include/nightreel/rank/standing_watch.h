// Looks, beside the drain loop, whether the videos of a rank's share of done jobs stand in OUT (standing.h).
//
// Owns a thread and a connection of its own: reading videos must hold up no claim, and no signal. content() is the
// drain loop's. Nothing is thrown: a Redis that is away is asked again, a file that cannot be read is logged.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/rank/output_folder.h"

namespace nightreel::rank {

class Standing;

class StandingWatch {
 public:
  /// Which jobs to look at; asked at each look.
  using Share = std::function<std::vector<std::string>(queue::JobQueue&)>;

  /// Begins with a look at once. `jobs` gives up when `stop` is cancelled, which the destructor does. `host`: this
  /// rank's, as jobs' records have it.
  StandingWatch(std::unique_ptr<queue::JobQueue> jobs, base::CancelToken stop, const OutputFolder& out,
                const std::string& host, Share share, const base::Logger& log);
  StandingWatch(const StandingWatch&) = delete;
  StandingWatch& operator=(const StandingWatch&) = delete;
  ~StandingWatch();

  /// Asks for a fresh look. True, once for each such look, when it has found all in place; false as long as it lasts,
  /// and where it has put something back. Waits a fifth of a second at most.
  bool content();

 private:
  void watch(const std::string& host);
  bool looks_well(Standing& standing);
  std::unique_ptr<queue::JobQueue> jobs_;
  base::CancelToken stop_;
  OutputFolder out_;
  Share share_;
  base::Logger log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool asked_ = false;
  bool over_ = false;
  std::optional<bool> answer_;
  std::string told_;  // the last problem that was logged
  std::thread thread_;
};

/// Every `count`-th of the ids, by the ids alone: the shares of 0 … count-1 are all of them.
std::vector<std::string> share_of(const std::vector<std::string>& ids, int index, int count);

}  // namespace nightreel::rank

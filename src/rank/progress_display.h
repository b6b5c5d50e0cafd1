// What a run shows while it works: rank 0 asks the queue how all ranks are doing and says so.
//
// Owns a connection of its own and a thread, so that a slow Redis or a slow terminal holds up no video. A Redis that
// does not answer is left alone until the next turn: the drain loop is who reports it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/queue/status_text.h"

namespace nightreel::rank {

struct ProgressStyle {
  std::function<void(const std::string&)> draw;  // takes text with cursor movements; empty: lines in the log
  std::chrono::milliseconds interval{5000};
};

class ProgressDisplay {
 public:
  ProgressDisplay(std::unique_ptr<queue::JobQueue> jobs, std::string run, int ranks, ProgressStyle style,
                  base::Logger log);
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;
  /// Shows the last state once more.
  ~ProgressDisplay();

 private:
  void loop();
  void show();

  const std::unique_ptr<queue::JobQueue> jobs_;
  const std::string run_;
  const int ranks_;
  const ProgressStyle style_;
  const base::Logger log_;
  queue::Pace pace_;
  std::size_t drawn_ = 0;  // lines of the block that stands on the terminal
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;  // last: it uses all the above
};

}  // namespace nightreel::rank

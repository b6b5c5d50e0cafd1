// Ends what hangs where nothing else can: the caller itself, in MPI_Init or in a call into a dead file system.
//
// Owns a thread from its construction to its destruction. begin() and done() from the thread that is watched.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace nightreel::doctor {

class Watchdog {
 public:
  /// `late` gets what has begun and was not done in time, once, on the watchdog's thread.
  explicit Watchdog(std::function<void(const std::string& doing)> late);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

  /// From now on `doing` is under way, for `limit` at most; what was before is done.
  void begin(const std::string& doing, std::chrono::milliseconds limit);

 private:
  void watch();
  std::function<void(const std::string&)> late_;
  std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  std::string doing_;
  std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::time_point::max();
  bool stop_ = false;
  std::thread thread_;  // last: it uses all the above
};

}  // namespace nightreel::doctor

// What a renderer tells its rank: whole lines from several threads, and the kind and message of whatever was thrown.
//
// Owns nothing; any thread. Once the rank is gone nothing can be said any more: lost() tells.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::render {

class Events {
 public:
  explicit Events(int fd) : fd_(fd) {}
  void send(const std::string& line);
  /// `job` empty: the renderer itself cannot go on, or a request about no job failed.
  void fail(const std::string& job, std::uint64_t token, base::ErrorKind kind, const std::string& why);
  void fail(const std::string& job, std::uint64_t token, const std::exception& thrown);
  bool lost() const;
  /// Heartbeats, the first one at once, until `stopping` or the rank is gone: the body of a thread that does nothing
  /// else.
  void beat(const std::stop_token& stopping, std::chrono::milliseconds every);

 private:
  int fd_;
  mutable std::mutex mutex_;
  bool lost_ = false;
};

/// Does `work`, which returns an exit code. What it throws is said as `failed` without a job, and its kind's exit code
/// is returned.
int exit_code_of(Events& events, const std::function<int()>& work);

/// LibTorch's errors are told apart by what they say about memory.
std::pair<base::ErrorKind, std::string> explain(const std::exception& thrown);

}  // namespace nightreel::render

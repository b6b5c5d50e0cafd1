// Work that may hang (a dead NFS server, a driver), beside a deadline.
//
// One thread. A thread that hangs is left behind with its work: the process must then end with _exit.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace nightreel::doctor {

class Patient {
 public:
  explicit Patient(std::chrono::milliseconds limit) : limit_(limit) {}

  /// What `work` answers, on a thread of its own; it must own all that it uses. Throws what `work` throws, and
  /// Error{environment} once the limit has passed.
  std::string operator()(std::function<std::string()> work) const { return within(limit_, std::move(work)); }
  std::string within(std::chrono::milliseconds limit, std::function<std::string()> work) const;

  std::chrono::milliseconds limit() const { return limit_; }
  /// Whether a thread still hangs.
  bool left_behind() const { return *running_ > 0; }

 private:
  std::chrono::milliseconds limit_;
  std::shared_ptr<std::atomic<int>> running_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace nightreel::doctor

#include "doctor/watchdog.h"

namespace nightreel::doctor {

using Clock = std::chrono::steady_clock;

Watchdog::Watchdog(std::function<void(const std::string&)> late)
    : late_(std::move(late)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::begin(const std::string& doing, std::chrono::milliseconds limit) {
  const std::lock_guard lock(mutex_);
  doing_ = doing;
  until_ = Clock::now() + limit;
  wake_.notify_all();
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (until_ == Clock::time_point::max()) {
      wake_.wait(lock);
    } else if (Clock::now() < until_) {
      wake_.wait_until(lock, until_);
    } else {
      const std::string doing = doing_;
      lock.unlock();
      late_(doing);
      return;
    }
  }
}

}  // namespace nightreel::doctor

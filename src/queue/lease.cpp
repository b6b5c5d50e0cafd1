#include "nightreel/queue/lease.h"

#include <algorithm>
#include <vector>

#include "nightreel/base/error.h"

namespace nightreel::queue {
namespace {

// What `status` shows of a running job is at most so old; a cancellation is noticed as fast.
constexpr std::chrono::seconds kFreshness{1};

}  // namespace

LeaseKeeper::LeaseKeeper(std::unique_ptr<JobQueue> queue, std::chrono::milliseconds interval, base::CancelToken stop,
                         base::Logger log)
    : queue_(std::move(queue)), interval_(interval), stop_(std::move(stop)), log_(std::move(log)) {
  thread_ = std::thread([this] { run(); });
}

LeaseKeeper::~LeaseKeeper() {
  stop_.cancel();
  {
    // Between the thread's look at the flag and its sleep there is no room for this.
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  thread_.join();
}

void LeaseKeeper::hold(const Lease& lease, std::chrono::milliseconds stall_limit) {
  const std::lock_guard lock(mutex_);
  held_[lease.ref.token] = {lease.ref, {}, lease.deadline, Clock::now() + stall_limit, false, false};
}

void LeaseKeeper::progress(const LeaseRef& ref, const Progress& progress, std::chrono::milliseconds stall_limit) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(ref.token);
  if (found == held_.end()) return;
  const Progress& before = found->second.progress;
  if (progress.stage != before.stage || progress.step != before.step) {
    news_ = true;
    wake_.notify_all();
  }
  found->second.progress = progress;
  found->second.stalls_at = Clock::now() + stall_limit;
}

void LeaseKeeper::drop(const LeaseRef& ref) {
  const std::lock_guard lock(mutex_);
  held_.erase(ref.token);
}

LeaseState LeaseKeeper::look(const LeaseRef& ref) const {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(ref.token);
  if (found == held_.end()) return {true, false, false, {}};
  const Held& held = found->second;
  const auto now = Clock::now();
  return {held.lost || now >= held.deadline, now >= held.stalls_at, held.cancel_requested, held.deadline};
}

void LeaseKeeper::run() {
  std::unique_lock lock(mutex_);
  auto last = Clock::now();
  while (!stop_.cancelled()) {
    const auto next = last + (news_ ? std::min<Clock::duration>(kFreshness, interval_) : Clock::duration(interval_));
    if (Clock::now() < next) {
      wake_.wait_until(lock, next);
      continue;
    }
    news_ = false;
    renew_all(lock);
    last = Clock::now();
  }
}

// The lock is given up during the calls: they may take as long as the connection's patience.
void LeaseKeeper::renew_all(std::unique_lock<std::mutex>& lock) {
  std::vector<Held> due;
  const auto now = Clock::now();
  for (const auto& [token, held] : held_) {
    if (!held.lost && now < held.deadline && now < held.stalls_at) due.push_back(held);
  }
  lock.unlock();
  for (const Held& held : due) {
    if (!stop_.cancelled()) renew_one(held);
  }
  lock.lock();
}

void LeaseKeeper::renew_one(const Held& held) {
  try {
    const Renewed renewed = queue_->renew(held.ref, held.progress);
    const std::lock_guard lock(mutex_);
    const auto found = held_.find(held.ref.token);
    if (found == held_.end()) return;  // ended meanwhile
    found->second.lost = !renewed.held;
    if (renewed.held) found->second.deadline = renewed.deadline;
    if (renewed.cancel_requested) found->second.cancel_requested = true;
  } catch (const base::Error& e) {
    if (!stop_.cancelled()) log_.warn("lease", "job " + held.ref.id + ": not renewed: " + e.what());
  }
}

}  // namespace nightreel::queue

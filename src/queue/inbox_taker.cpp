#include "nightreel/queue/inbox_taker.h"

#include <utility>

#include "nightreel/queue/redis.h"

namespace nightreel::queue {

InboxTaker::InboxTaker(InboxParts parts) : p_(std::move(parts)) {
  thread_ = std::thread([this] { run(); });
}

InboxTaker::~InboxTaker() {
  p_.stop.cancel();
  {
    // Between the thread's look at the flag and its sleep there is no room for this.
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  }
  thread_.join();
}

InboxTaker::Found InboxTaker::found() const {
  const std::lock_guard lock(mutex_);
  return found_;
}

void InboxTaker::check() const {
  const std::lock_guard lock(mutex_);
  if (fault_) throw base::Error(*fault_);
}

bool InboxTaker::stopped() const {
  const std::lock_guard lock(mutex_);
  return fault_.has_value();
}

void InboxTaker::run() {
  while (!p_.stop.cancelled() && !stopped()) {
    if (turn()) continue;
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, p_.interval, [&] { return p_.stop.cancelled(); });
  }
}

// Whether the next turn has something to do.
bool InboxTaker::turn() {
  try {
    const InboxResult result = p_.queue->take_inbox(p_.validate, p_.out);
    away_ = false;
    keep(result.rejected);
    return result.more;
  } catch (const RedisError& e) {
    if (retryable(e.fault())) {
      if (!std::exchange(away_, true)) p_.log.warn("inbox", std::string(e.what()) + "; trying again");
      return false;
    }
    const std::lock_guard lock(mutex_);
    fault_ = e;
  } catch (const std::exception& e) {
    if (p_.stop.cancelled()) return false;
    const std::lock_guard lock(mutex_);
    fault_ = base::Error(base::ErrorKind::internal, std::string("the inbox: ") + e.what());
  }
  return false;
}

void InboxTaker::keep(const std::vector<Rejected>& rejected) {
  for (const Rejected& one : rejected) {
    const std::lock_guard lock(mutex_);
    const auto before = found_.rejected_in_all++;
    if (before < kNamedRejects) {
      p_.log.error("job-failed", one.id + ": " + one.reason);
      found_.rejected.push_back(one);
    }
    if (before == kNamedRejects) {
      p_.log.error("inbox", std::to_string(kNamedRejects) + " refused entries were named; further ones are counted");
    }
  }
}

}  // namespace nightreel::queue

#include "nightreel/rank/job_in_hand.h"

namespace nightreel::rank {

HeldLease::HeldLease(queue::LeaseKeeper& keeper, const queue::Lease& lease, std::chrono::milliseconds limit)
    : keeper_(keeper), ref_(lease.ref) {
  keeper_.hold(lease, limit);
}

TemporaryFiles::~TemporaryFiles() {
  if (!left_) return;
  try {
    publisher_.discard(attempt_);
  } catch (const std::exception& e) {
    log_.warn("litter", e.what());
  }
}

}  // namespace nightreel::rank

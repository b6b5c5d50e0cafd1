// What is known so far, kept so that it can be shown at any moment: by the end, or by the watchdog in the middle.
#pragma once

#include <mutex>
#include <utility>

#include "nightreel/doctor/report.h"

namespace nightreel::doctor {

/// Any thread.
class Notes {
 public:
  void add(const Findings& findings) {
    const std::lock_guard lock(mutex_);
    report_.findings.insert(report_.findings.end(), findings.begin(), findings.end());
  }
  void set_ranks(std::vector<RankPlace> ranks) {
    const std::lock_guard lock(mutex_);
    report_.ranks = std::move(ranks);
  }
  Report report() const {
    const std::lock_guard lock(mutex_);
    return report_;
  }

 private:
  mutable std::mutex mutex_;
  Report report_;
};

}  // namespace nightreel::doctor

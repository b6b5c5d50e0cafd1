// For how long another process has given no sign, by the clock of one that may itself be stopped or away in a call.
#pragma once

#include <algorithm>

#include "nightreel/base/clock.h"

namespace nightreel::rank {

/// A plain value; one thread. Time in which its owner did not look is no silence of the other's: a look counts for a
/// second at most.
class Silence {
 public:
  void look() {
    seconds_ += std::min(since_look_.seconds(), kLongestLook_s);
    since_look_ = base::Stopwatch();
  }
  void broken() {
    seconds_ = 0;
    since_look_ = base::Stopwatch();
  }
  double seconds() const { return seconds_; }

 private:
  static constexpr double kLongestLook_s = 1;
  double seconds_ = 0;
  base::Stopwatch since_look_;
};

}  // namespace nightreel::rank

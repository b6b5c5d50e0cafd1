// How long the threads of a renderer wait for one another, and the members of a group for each other. The figures are
// the product's; tests take others, so that none of them has to wait for a clock.
#pragma once

#include <chrono>

namespace nightreel::render {

struct Limits {
  /// Between two heartbeats for the rank.
  std::chrono::milliseconds heartbeat{1000};
  /// Between two looks of the thread that reads requests at whether another one has failed.
  std::chrono::milliseconds look{200};
  /// In a group: rank 0 says so often that there is nothing to do, so that nobody who waits comes to the end of the
  /// group's deadline, and one who is gone is missed.
  std::chrono::milliseconds beat{2000};
  /// For so long the others then stay out of collectives, which would keep a GPU busy; less than `beat`.
  std::chrono::milliseconds rest{1600};
  /// For the other end of the group to hear that all is over.
  std::chrono::milliseconds patience{5000};
  /// For this member's own shutdown to come, once rank 0 is gone.
  std::chrono::milliseconds farewell{2000};
};

}  // namespace nightreel::render

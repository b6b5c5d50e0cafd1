// Waiting for what must come, instead of sleeping for as long as it should take.
#pragma once

#include <chrono>
#include <thread>

namespace nightreel::test {

/// Whether `condition` comes true. The limit is what only a hang reaches: no verdict may depend on how busy the machine
/// is.
template <typename Condition>
[[nodiscard]] bool comes(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds(60)) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace nightreel::test

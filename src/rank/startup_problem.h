// A rank's part of a step that all take together, as its problem or none.
#pragma once

#include <optional>
#include <string>

#include "nightreel/base/error.h"

namespace nightreel::rank {

/// Runs `work`; its failure becomes this rank's problem, for World::throw_together.
template <typename Work>
std::optional<std::string> problem_of(Work work) {
  try {
    work();
    return std::nullopt;
  } catch (const base::Error& e) {
    return e.what();
  }
}

}  // namespace nightreel::rank

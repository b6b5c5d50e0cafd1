// What two videos must have in common for one to go on from the other's saved state.
//
// Plain functions; any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/settings/row.h"

namespace nightreel::settings {

/// One text for all settings of sampling that count: those at their neutral value do not, so that a new setting changes
/// no old key. `table`: for tests.
std::string key_text(const Settings& settings, std::span<const Row> table = rows());

/// The text of version 0.1. None where a setting counts that 0.1 did not have: it cannot have made such a state.
std::optional<std::string> key_text_of_0_1(const Settings& settings, std::span<const Row> table = rows());

/// Name and value of each setting of sampling, for ranks that compare theirs.
std::vector<std::pair<std::string, std::string>> sampling_facts(const Settings& settings);

}  // namespace nightreel::settings

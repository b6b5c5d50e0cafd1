// Environment variables as a test wants them, without touching the process's own. Test code of the cluster layer.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "nightreel/cluster/gpu.h"

namespace nightreel::test {

inline cluster::Environment environment_of(const std::map<std::string, std::string>& variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

}  // namespace nightreel::test

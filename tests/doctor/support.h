// Worlds of ranks on hosts, environments, and what the tests look for in findings.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "doctor/ranks.h"
#include "nightreel/cluster/gpu.h"

namespace nightreel::doctor {

/// `counts[i]` ranks on host "a", "b", …
inline Places places_of(const std::vector<int>& counts) {
  Places places;
  for (std::size_t host = 0; host < counts.size(); ++host) {
    for (int i = 0; i < counts[host]; ++i) {
      places.push_back({std::string(1, static_cast<char>('a' + host)), static_cast<int>(host), i, counts[host]});
    }
  }
  return places;
}

/// The same facts from every rank.
template <typename Facts>
std::vector<Answer<Facts>> all_say(const Places& places, const Facts& facts) {
  return std::vector<Answer<Facts>>(places.size(), Answer<Facts>{facts, ""});
}

/// Variables and nothing else.
inline cluster::Environment environment_of(const std::map<std::string, std::string>& variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

inline std::string shown(const Findings& findings) {
  std::string text;
  for (const auto& one : findings) {
    text += std::string(name(one.level)) + " " + one.check + ": " + one.text + " | " + one.fix + "\n";
  }
  return text;
}

/// There is a finding of `check` at `level` that says all `parts`; a warning or failure has a fix.
inline void check_says(const Findings& findings, const std::string& check, Level level,
                       const std::vector<std::string>& parts = {}) {
  bool found = false;
  for (const auto& one : findings) {
    const bool bad = one.level == Level::warning || one.level == Level::failure;
    CHECK_MESSAGE(bad == !one.fix.empty(), shown(findings));
    bool fits = one.check == check && one.level == level;
    for (const auto& part : parts) fits = fits && (one.text + " " + one.fix).find(part) != std::string::npos;
    found = found || fits;
  }
  CHECK_MESSAGE(found, "no " << name(level) << " of " << check << " in:\n" << shown(findings));
}

}  // namespace nightreel::doctor

// Memory plans in words and in JSON, and what would fit instead.
//
// Plain functions; any thread. Nothing fails.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "nightreel/memory/plan.h"

namespace nightreel::memory {

/// Settings and precisions near these that would fit, for people: "480x832", "49 frames", "--dtype fp8". May be empty.
std::vector<std::string> what_would_fit(const MemoryModel& model, const settings::Settings& settings,
                                        std::uint64_t memory);

/// For people, line by line: what lives where, when it moves, what each stage needs.
std::vector<std::string> describe(const MemoryModel& model, const MemoryPlan& plan, const settings::Settings& settings);
/// In one line, for logs.
std::string summary(const MemoryPlan& plan, const settings::Settings& settings);
/// For programs.
nlohmann::json to_json(const MemoryPlan& plan);

/// "23.5 GB": decimal, as GPUs and disks are sold.
std::string human_bytes(std::uint64_t bytes);

}  // namespace nightreel::memory

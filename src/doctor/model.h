// The model: can each host read it, does this version render it, is it the same everywhere?
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/probe_renderer.h"
#include "doctor/ranks.h"

namespace nightreel::doctor {

struct CardFacts {
  std::string name;         // "Wan2.2-T2V-A14B (t2v)", or the kind alone; empty: another rank of the host looks
  std::uint64_t bytes = 0;  // of its weights
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CardFacts, name, bytes)

/// From the folder's JSON files. Throws Error{model}.
CardFacts card_facts(const std::string& folder);

struct DigestFacts {
  std::string digest;
  double seconds = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DigestFacts, digest, seconds)

/// Reads every byte of the weights, in the renderer.
DigestFacts digest_facts(ProbeRenderer& renderer, const std::string& folder, std::chrono::milliseconds limit);

/// What reading so many bytes may take: storage below 20 MB/s counts as hanging.
std::chrono::milliseconds reading_limit(std::uint64_t bytes);

Findings judge_model(const Places& places, const std::vector<Answer<CardFacts>>& cards,
                     const std::vector<Answer<DigestFacts>>& digests);

}  // namespace nightreel::doctor

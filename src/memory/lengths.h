// Lengths that several modules' bytes go by.
#pragma once

#include <cstdint>

#include "nightreel/memory/model.h"
#include "nightreel/settings/settings.h"

namespace nightreel::memory {

inline constexpr std::int64_t kFloat = 4;  // bytes of a float32

inline std::uint64_t unsigned_of(std::int64_t bytes) {
  return static_cast<std::uint64_t>(bytes);
}

inline std::int64_t latent_frames(const MemoryModel& model, const settings::Settings& s) {
  return (s.num_frames - 1) / model.vae.scale_factor_temporal + 1;
}

}  // namespace nightreel::memory

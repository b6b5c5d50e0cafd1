// What waits in a queue: how many jobs, and how large the videos of a sample of them are.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/queue/redis_address.h"

namespace nightreel::doctor {

/// As the job says it; 0 where it leaves it to the recipe.
struct VideoSize {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t num_frames = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(VideoSize, height, width, num_frames)

struct Queued {
  std::int64_t jobs = 0;          // not ended
  std::vector<VideoSize> sample;  // some of those that wait
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Queued, jobs, sample)

/// Throws RedisError as a run would.
Queued look_at_queue(const std::vector<queue::RedisAddress>& addresses, const std::string& name);

/// Of an inbox entry, or of a job's `spec` in Redis. Any text: what is no size counts as left out.
VideoSize video_size(std::string_view text);

}  // namespace nightreel::doctor

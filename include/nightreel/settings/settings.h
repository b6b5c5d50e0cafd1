// Everything that a job may set. What may be written where, in which bounds and under which names is in row.h; here are
// the values alone, in three groups.
//
// Plain values, no resources; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nightreel::settings {

inline constexpr std::size_t kMaxPrompt = 64U << 10U;  // bytes of UTF-8
inline constexpr std::int64_t kMaxPriority = 1000000;
inline constexpr std::int64_t kMaxSteps = 1000;

struct Lora {
  std::string path;
  double scale = 1.0;
  std::string expert = "both";  // high, low, both
};

/// What the latents depend on. A group agrees on it before its first step, and a saved state is keyed by it.
struct Sampling {
  std::string prompt;
  std::string negative_prompt;
  std::string image;       // absolute path, empty: none
  std::string last_image;  // absolute path, empty: none
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t num_frames = 0;  // 4n+1
  std::int64_t num_inference_steps = 0;
  double guidance_scale = 5.0;             // of the high-noise expert (diffusers' name)
  std::optional<double> guidance_scale_2;  // of the low-noise expert; absent: guidance_scale
  double flow_shift = 3.0;
  std::optional<double> boundary_ratio;  // absent: one expert
  std::string sampler = "unipc";         // unipc, dpm++, euler
  std::vector<double> sigmas;            // empty: from num_inference_steps and flow_shift
  std::uint64_t seed = 0;                // of torch's CPU generator
  std::vector<Lora> loras;
};

/// How frames become a file.
struct Encoding {
  double fps = 16;
  std::int64_t crf = 18;       // 0 to 51, less is better
  std::string codec = "h264";  // h264, hevc
};

/// What the queue does with the job. None of it reaches a renderer.
struct Queue {
  std::string id;
  std::int64_t priority = 0;
  std::optional<std::int64_t> max_attempts;  // absent: the run's
  std::optional<double> timeout_s;           // absent: none
};

/// With which one video is rendered: what a job says, completed by the recipe. It travels to the renderer and stands in
/// sidecar and archive.
struct Settings : Sampling, Encoding {};

/// All three groups: what rows (row.h) point into.
struct Fields : Settings, Queue {};

}  // namespace nightreel::settings

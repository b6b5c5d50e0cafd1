// Every setting with which one video is rendered: what a job says, completed by the recipe. This is what travels to
// the renderer, what stands in the sidecar and the archive, and what the checkpoint is keyed by.
//
// Plain values, no resources; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace nightreel::job {

struct Lora {
  std::string path;
  double scale = 1.0;
  std::string expert = "both";  // high, low, both
};

struct Settings {
  std::string prompt;
  std::string negative_prompt;
  std::string image;       // absolute path, empty: none
  std::string last_image;  // absolute path, empty: none
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t num_frames = 0;  // 4n+1
  double fps = 16;
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

/// Every member is written, absent optionals as null. from_json throws base::Error{internal} on anything else.
nlohmann::json to_json(const Settings& settings);
Settings settings_from_json(const nlohmann::json& json);

}  // namespace nightreel::job

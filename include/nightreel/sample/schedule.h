// The noise levels that a sampler walks down.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nightreel::sample {

enum class Method { unipc, dpm_plus_plus, euler };

/// "unipc", "dpm++" or "euler". Throws Error{job} that names an unknown one and those that exist.
Method method_of(const std::string& name);

/// What a job says about its noise levels.
struct ScheduleSettings {
  Method method = Method::unipc;
  std::int64_t steps = 0;
  double flow_shift = 1;
  std::vector<double> sigmas;  // not empty: these as they stand, not shifted, instead of steps and flow_shift
};

struct Schedule {
  std::vector<float> sigmas;     // one for each step, and the final 0
  std::vector<float> timesteps;  // sigma * num_train_timesteps; but for Euler cut to a whole number
};

/// Noise levels as set_timesteps of diffusers 0.42.1 computes them for the method's scheduler (use_flow_sigmas), in the
/// same precisions and roundings; num_train_timesteps is the checkpoint's scheduler's. Throws Error{job} naming the
/// setting where steps < 1, flow_shift is not a positive number or sigmas do not fall within (0, 1].
Schedule make_schedule(const ScheduleSettings& settings, std::int64_t num_train_timesteps);

}  // namespace nightreel::sample

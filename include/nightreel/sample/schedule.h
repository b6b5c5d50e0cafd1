// The noise levels that a sampler walks down, and what scheduler/scheduler_config.json says about them.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace nightreel::sample {

/// What of the checkpoint's scheduler the settings of a job do not say themselves.
struct SchedulerConfig {
  std::int64_t num_train_timesteps = 1000;
};

/// Reads the configuration of diffusers' UniPCMultistepScheduler or FlowMatchEulerDiscreteScheduler. `path` is named in
/// errors. A value that would change the schedule or the solver, and that this program does not have, throws
/// Error{model} naming it; flow_shift and the sampler itself are settings of the job and not read here.
SchedulerConfig parse_scheduler_config(const nlohmann::json& config, const std::string& path);

/// Noise levels as diffusers' UniPCMultistepScheduler.set_timesteps computes them with use_flow_sigmas
/// (schedulers/scheduling_unipc_multistep.py of 0.42.1), in the same precisions and roundings.
struct Schedule {
  std::vector<float> sigmas;            // one for each step, and the final 0
  std::vector<std::int64_t> timesteps;  // sigma * num_train_timesteps, cut to a whole number
};

/// Throws Error{job} naming the setting where steps < 1 or flow_shift is not a positive number.
Schedule make_flow_schedule(std::int64_t steps, double flow_shift, const SchedulerConfig& config);

}  // namespace nightreel::sample

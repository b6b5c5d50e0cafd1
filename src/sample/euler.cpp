#include "sample/euler.h"

#include <ATen/ATen.h>

#include "sample/noise_levels.h"

namespace nightreel::sample {

Euler::Euler(Schedule schedule)
    : schedule_(std::move(schedule)), position_(static_cast<std::int64_t>(schedule_.timesteps.size())) {}

at::Tensor Euler::step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) {
  position_.expect(i);
  const auto at_step = static_cast<std::size_t>(i);
  const float change = schedule_.sigmas[at_step + 1] - schedule_.sigmas[at_step];
  position_.advance();
  return sample + model_output.to(at::kFloat) * change;
}

/// Between the ends of the training schedule, which diffusers has shifted before, in float32: the last level is
/// shifted twice.
std::vector<double> euler_sigmas(const ScheduleSettings& settings, double train_steps) {
  const auto end = [&](float sigma) {
    const auto shift = static_cast<float>(settings.flow_shift);
    const auto rest = static_cast<float>(settings.flow_shift - 1);
    return static_cast<double>(shift * sigma / (1 + rest * sigma));
  };
  std::vector<double> sigmas =
      linspace(end(1) * train_steps, end(1 / static_cast<float>(train_steps)) * train_steps, settings.steps);
  for (double& sigma : sigmas) sigma = shifted(sigma / train_steps, settings.flow_shift);
  return sigmas;
}

}  // namespace nightreel::sample

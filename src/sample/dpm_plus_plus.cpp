#include "sample/dpm_plus_plus.h"

#include <ATen/ATen.h>

#include "sample/noise_levels.h"

namespace nightreel::sample {

DpmPlusPlus::DpmPlusPlus(Schedule schedule)
    : schedule_(std::move(schedule)), position_(static_cast<std::int64_t>(schedule_.timesteps.size())) {}

/// Order 1 to begin with, for want of history, and at the end, where a step to sigma 0 allows no more. Where the run
/// starts at sigma 1, whose signal-to-noise ratio is 0, h_0 is infinite and the slope's weight becomes 0.
at::Tensor DpmPlusPlus::step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) {
  position_.expect(i);
  const auto at_step = static_cast<std::size_t>(i);
  const float from = schedule_.sigmas[at_step];
  const at::Tensor to = at::scalar_tensor(schedule_.sigmas[at_step + 1], at::kFloat);
  const at::Tensor h = half_log_snr(schedule_.sigmas[at_step + 1]) - half_log_snr(from);
  const auto toward_x0 = (at::rsub(to, 1) * (at::exp(-h) - 1)).item<float>();

  at::Tensor x0 = sample - model_output.to(at::kFloat) * from;
  at::Tensor next = sample * (to / from).item<float>();
  next.sub_(x0 * toward_x0);
  if (!first_order(i)) {
    const at::Tensor h_0 = half_log_snr(from) - half_log_snr(schedule_.sigmas[at_step - 1]);
    const auto slope_weight = (h_0 / h).reciprocal_().item<float>();
    next.sub_((x0 - x0_).mul_(slope_weight).mul_(0.5F * toward_x0));
  }
  x0_ = std::move(x0);
  position_.advance();
  return next;
}

SamplerState DpmPlusPlus::save() const {
  SamplerState state{position_.next(), {}};
  if (position_.next() > 0) state.tensors = {{"x0", x0_}};
  return state;
}

void DpmPlusPlus::restore(const SamplerState& state) {
  RunPosition position = position_;
  position.restore(state.next_step);
  x0_ = saved_tensor(state, "x0", state.next_step > 0);
  position_ = position;
}

std::vector<double> dpm_sigmas(const ScheduleSettings& settings, double train_steps) {
  std::vector<double> sigmas;
  for (const double alpha : linspace(1, 1 / train_steps, settings.steps + 1)) {
    sigmas.insert(sigmas.begin(), shifted(1.0 - alpha, settings.flow_shift));
  }
  sigmas.pop_back();
  return sigmas;
}

}  // namespace nightreel::sample

// Euler's method along the flow: x + (next sigma - sigma) * velocity.
//
// Follows diffusers 0.42.1, FlowMatchEulerDiscreteScheduler.step (schedulers/scheduling_flow_match_euler_discrete.py).
#pragma once

#include "nightreel/sample/sampler.h"
#include "sample/run_position.h"

namespace nightreel::sample {

class Euler final : public Sampler {
 public:
  explicit Euler(Schedule schedule);
  const std::vector<float>& timesteps() const override { return schedule_.timesteps; }
  at::Tensor step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) override;
  SamplerState save() const override { return {position_.next(), {}}; }
  void restore(const SamplerState& state) override { position_.restore(state.next_step); }

 private:
  Schedule schedule_;
  RunPosition position_;
};

/// Its noise levels, in the precision of its scheduler.
std::vector<double> euler_sigmas(const ScheduleSettings& settings, double train_steps);

}  // namespace nightreel::sample

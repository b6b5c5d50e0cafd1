// DPM-Solver++ (2M) (Lu et al. 2022, arXiv:2211.01095), midpoint form, predicting x0 from flow velocities.
//
// Follows diffusers 0.42.1, DPMSolverMultistepScheduler (schedulers/scheduling_dpmsolver_multistep.py), coefficient by
// coefficient: they are 0-dimensional float32 tensors on the CPU that go through the same operations.
#pragma once

#include "nightreel/sample/sampler.h"
#include "sample/run_position.h"

namespace nightreel::sample {

class DpmPlusPlus final : public Sampler {
 public:
  explicit DpmPlusPlus(Schedule schedule);
  const std::vector<float>& timesteps() const override { return schedule_.timesteps; }
  at::Tensor step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) override;
  SamplerState save() const override;
  void restore(const SamplerState& state) override;

 private:
  bool first_order(std::int64_t i) const { return i == 0 || i + 1 == position_.steps(); }

  Schedule schedule_;
  RunPosition position_;
  at::Tensor x0_;  // the clean latents that the last step predicted
};

/// Its noise levels, in the precision of its scheduler.
std::vector<double> dpm_sigmas(const ScheduleSettings& settings, double train_steps);

}  // namespace nightreel::sample

// UniPC of order 2 (Zhao et al. 2023, arXiv:2302.04867) with B(h) = e^h - 1, predicting x0 from flow velocities.
//
// Follows diffusers 0.42.1, UniPCMultistepScheduler (schedulers/scheduling_unipc_multistep.py), coefficient by
// coefficient: they are 0-dimensional float32 tensors on the CPU that go through the same operations.
#pragma once

#include "nightreel/sample/sampler.h"
#include "sample/run_position.h"

namespace nightreel::sample {

class UniPc final : public Sampler {
 public:
  explicit UniPc(Schedule schedule);
  const std::vector<float>& timesteps() const override { return schedule_.timesteps; }
  at::Tensor step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) override;
  SamplerState save() const override;
  void restore(const SamplerState& state) override;

 private:
  std::int64_t order(std::int64_t i) const;
  at::Tensor predict(const at::Tensor& x, std::int64_t i) const;
  at::Tensor correct(const at::Tensor& x0, std::int64_t i) const;

  Schedule schedule_;
  RunPosition position_;
  at::Tensor last_sample_;  // the corrected latents before the last predictor
  at::Tensor x0_;           // the clean latents that the last step predicted
  at::Tensor previous_x0_;  // and those of the step before
};

/// Its noise levels, in the precision of its scheduler.
std::vector<double> unipc_sigmas(const ScheduleSettings& settings, double train_steps);

}  // namespace nightreel::sample

// Flow-matching samplers: they turn the transformer's velocities into the next, less noisy latents.
//
// A Sampler owns the history of one run and belongs to one thread. Tensors stay on the device of the latents that it is
// given. Calls out of order throw base::Error{internal}.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nightreel/sample/schedule.h"

namespace nightreel::sample {

/// All that a sampler needs to go on after `next_step` - 1 steps. Tensors are float32.
struct SamplerState {
  std::int64_t next_step = 0;
  std::map<std::string, at::Tensor> tensors;
};

class Sampler {
 public:
  virtual ~Sampler() = default;

  /// What the transformer is told at each step; size() is the number of steps.
  virtual const std::vector<float>& timesteps() const = 0;

  /// From the latents `sample` before step i (0, 1, … in order) and the velocity predicted for them (any float dtype)
  /// to the latents after it. `sample` is float32 of any shape, the same at every step.
  virtual at::Tensor step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) = 0;

  /// The state shares its tensors with the sampler; neither writes to them afterwards.
  virtual SamplerState save() const = 0;
  /// Goes on from `state` bit for bit as the sampler that saved it. Throws Error{storage} when it is not a state of
  /// this sampler at that step.
  virtual void restore(const SamplerState& state) = 0;
};

std::unique_ptr<Sampler> make_sampler(Method method, const Schedule& schedule);

}  // namespace nightreel::sample

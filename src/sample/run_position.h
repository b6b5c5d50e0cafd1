// Where a sampler stands in its run, and what it takes out of a saved state: common to all methods.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nightreel/sample/sampler.h"

namespace nightreel::sample {

/// The steps of one run, which are taken in order.
class RunPosition {
 public:
  explicit RunPosition(std::int64_t steps) : steps_(steps) {}
  std::int64_t next() const { return next_; }
  std::int64_t steps() const { return steps_; }
  /// Throws Error{internal} unless step `i` is the next one.
  void expect(std::int64_t i) const;
  void advance() { ++next_; }
  /// Throws Error{storage} where the run has no such step.
  void restore(std::int64_t next_step);

 private:
  std::int64_t steps_;
  std::int64_t next_ = 0;
};

/// The tensor `name` of a state where it is `wanted`, else an undefined one. Throws Error{storage} where it is missing
/// or not float32.
at::Tensor saved_tensor(const SamplerState& state, const char* name, bool wanted);

/// log(alpha) - log(sigma), half the logarithm of the signal-to-noise ratio, with alpha = 1 - sigma: 0-dimensional
/// float32 on the CPU, as diffusers computes it.
at::Tensor half_log_snr(float sigma);

}  // namespace nightreel::sample

#include "sample/euler.h"

#include <ATen/ATen.h>

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

}  // namespace nightreel::sample

#include "sample/run_position.h"

#include <ATen/ATen.h>

#include "nightreel/base/error.h"

namespace nightreel::sample {

using base::Error;
using base::ErrorKind;

void RunPosition::expect(std::int64_t i) const {
  if (i == next_ && i < steps_) return;
  throw Error(ErrorKind::internal, "sampler: step " + std::to_string(i) + " where " + std::to_string(next_) + " of " +
                                       std::to_string(steps_) + " is next");
}

void RunPosition::restore(std::int64_t next_step) {
  if (next_step < 0 || next_step > steps_) {
    throw Error(ErrorKind::storage, "sampler state: step " + std::to_string(next_step) + " of " +
                                        std::to_string(steps_) + " does not exist");
  }
  next_ = next_step;
}

at::Tensor saved_tensor(const SamplerState& state, const char* name, bool wanted) {
  if (!wanted) return {};
  const auto entry = state.tensors.find(name);
  if (entry == state.tensors.end() || entry->second.scalar_type() != at::kFloat) {
    throw Error(ErrorKind::storage, std::string("sampler state: no float32 tensor ") + name);
  }
  return entry->second;
}

at::Tensor half_log_snr(float sigma) {
  const at::Tensor sigma_t = at::scalar_tensor(sigma, at::kFloat);
  return at::log(at::rsub(sigma_t, 1)) - at::log(sigma_t);
}

}  // namespace nightreel::sample

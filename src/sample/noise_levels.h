// Arithmetic of noise levels that samplers share.
#pragma once

#include <cstdint>
#include <vector>

namespace nightreel::sample {

inline double shifted(double sigma, double flow_shift) {
  return flow_shift * sigma / (1 + (flow_shift - 1) * sigma);
}

/// numpy.linspace(from, to, count), operation by operation.
std::vector<double> linspace(double from, double to, std::int64_t count);

}  // namespace nightreel::sample

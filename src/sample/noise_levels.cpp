#include "sample/noise_levels.h"

#include <algorithm>

namespace nightreel::sample {

std::vector<double> linspace(double from, double to, std::int64_t count) {
  const double stride = (to - from) / static_cast<double>(std::max<std::int64_t>(count - 1, 1));
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<double>(i) * stride + from);
  if (count > 1) values.back() = to;
  return values;
}

}  // namespace nightreel::sample

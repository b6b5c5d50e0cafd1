// The samplers that there are: one row each.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "nightreel/sample/sampler.h"
#include "nightreel/sample/schedule.h"

namespace nightreel::sample {

struct SamplerRow {
  Method method;
  std::string_view name;
  std::vector<double> (*sigmas)(const ScheduleSettings& settings, double train_steps);
  bool whole_timesteps;  // cut to whole numbers
  std::unique_ptr<Sampler> (*make)(const Schedule& schedule);
};

const SamplerRow& row_of(Method method);

}  // namespace nightreel::sample

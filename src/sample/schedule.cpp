#include "nightreel/sample/schedule.h"

#include <cmath>

#include "nightreel/base/error.h"
#include "sample/sampler_rows.h"

namespace nightreel::sample {

namespace {

using base::Error;
using base::ErrorKind;

void check_settings(const ScheduleSettings& settings) {
  const auto refuse = [](const char* why) { throw Error(ErrorKind::job, why); };
  double before = 2;
  for (const double sigma : settings.sigmas) {
    if (!(sigma > 0 && sigma <= 1 && sigma < before)) refuse("sigmas: must fall from step to step within 0 to 1");
    before = sigma;
  }
  if (!settings.sigmas.empty()) return;
  if (settings.steps < 1) refuse("num_inference_steps: must be at least 1");
  if (!std::isfinite(settings.flow_shift) || settings.flow_shift <= 0) refuse("flow_shift: must be a positive number");
}

}  // namespace

Schedule make_schedule(const ScheduleSettings& settings, std::int64_t num_train_timesteps) {
  check_settings(settings);
  const auto train_steps = static_cast<double>(num_train_timesteps);
  const SamplerRow& sampler = row_of(settings.method);
  std::vector<double> sigmas = settings.sigmas.empty() ? sampler.sigmas(settings, train_steps) : settings.sigmas;
  constexpr double kEpsilon = 1e-6;  // keeps UniPC's log(1 - sigma) of the first step finite
  if (settings.method == Method::unipc && std::fabs(sigmas[0] - 1) < kEpsilon) sigmas[0] -= kEpsilon;
  Schedule schedule;
  for (const double sigma : sigmas) {
    schedule.sigmas.push_back(static_cast<float>(sigma));
    schedule.timesteps.push_back(sampler.whole_timesteps ? static_cast<float>(std::floor(sigma * train_steps))
                                                         : schedule.sigmas.back() * static_cast<float>(train_steps));
  }
  schedule.sigmas.push_back(0);
  return schedule;
}

}  // namespace nightreel::sample

#include "nightreel/sample/schedule.h"

#include <algorithm>
#include <cmath>

#include "nightreel/base/error.h"

namespace nightreel::sample {

namespace {

using base::Error;
using base::ErrorKind;

double shifted(double sigma, double flow_shift) {
  return flow_shift * sigma / (1 + (flow_shift - 1) * sigma);
}

/// numpy.linspace(from, to, count), operation by operation.
std::vector<double> linspace(double from, double to, std::int64_t count) {
  const double stride = (to - from) / static_cast<double>(std::max<std::int64_t>(count - 1, 1));
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<double>(i) * stride + from);
  if (count > 1) values.back() = to;
  return values;
}

std::vector<double> unipc_sigmas(const ScheduleSettings& settings, double train_steps) {
  std::vector<double> sigmas = linspace(1, 1 / train_steps, settings.steps + 1);
  sigmas.pop_back();
  for (double& sigma : sigmas) sigma = shifted(sigma, settings.flow_shift);
  return sigmas;
}

std::vector<double> dpm_sigmas(const ScheduleSettings& settings, double train_steps) {
  std::vector<double> sigmas;
  for (const double alpha : linspace(1, 1 / train_steps, settings.steps + 1)) {
    sigmas.insert(sigmas.begin(), shifted(1.0 - alpha, settings.flow_shift));
  }
  sigmas.pop_back();
  return sigmas;
}

/// Between the ends of the training schedule, which diffusers has shifted before, in float32: the last level is
/// shifted twice.
std::vector<double> euler_sigmas(const ScheduleSettings& settings, double train_steps) {
  const auto end = [&](float sigma) {
    const auto shift = static_cast<float>(settings.flow_shift);
    const auto rest = static_cast<float>(settings.flow_shift - 1);
    return static_cast<double>(shift * sigma / (1 + rest * sigma));
  };
  std::vector<double> sigmas =
      linspace(end(1) * train_steps, end(1 / static_cast<float>(train_steps)) * train_steps, settings.steps);
  for (double& sigma : sigmas) sigma = shifted(sigma / train_steps, settings.flow_shift);
  return sigmas;
}

std::vector<double> sigmas_of(const ScheduleSettings& settings, double train_steps) {
  if (!settings.sigmas.empty()) return settings.sigmas;
  switch (settings.method) {
    case Method::unipc:
      return unipc_sigmas(settings, train_steps);
    case Method::dpm_plus_plus:
      return dpm_sigmas(settings, train_steps);
    case Method::euler:
      return euler_sigmas(settings, train_steps);
  }
  throw Error(ErrorKind::internal, "schedule: no such method");
}

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

Method method_of(const std::string& name) {
  if (name == "unipc") return Method::unipc;
  if (name == "dpm++") return Method::dpm_plus_plus;
  if (name == "euler") return Method::euler;
  throw Error(ErrorKind::job, "sampler: \"" + base::printable(name) + "\" is not known; unipc, dpm++ and euler are");
}

Schedule make_schedule(const ScheduleSettings& settings, std::int64_t num_train_timesteps) {
  check_settings(settings);
  const auto train_steps = static_cast<double>(num_train_timesteps);
  std::vector<double> sigmas = sigmas_of(settings, train_steps);
  constexpr double kEpsilon = 1e-6;  // keeps UniPC's log(1 - sigma) of the first step finite
  if (settings.method == Method::unipc && std::fabs(sigmas[0] - 1) < kEpsilon) sigmas[0] -= kEpsilon;
  Schedule schedule;
  for (const double sigma : sigmas) {
    schedule.sigmas.push_back(static_cast<float>(sigma));
    schedule.timesteps.push_back(settings.method == Method::euler
                                     ? schedule.sigmas.back() * static_cast<float>(train_steps)
                                     : static_cast<float>(std::floor(sigma * train_steps)));
  }
  schedule.sigmas.push_back(0);
  return schedule;
}

}  // namespace nightreel::sample

#include "nightreel/sample/schedule.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"

namespace nightreel::sample {

namespace {

using Json = nlohmann::json;
using base::Error;
using base::ErrorKind;

// What each class must say for the schedule and the solver to be those of this program. The default of diffusers
// counts where the file is silent.
struct Requirement {
  const char* key;
  Json value;
  Json diffusers_default;
};

const std::vector<Requirement> kOfAll{{"use_dynamic_shifting", false, false},
                                      {"shift_terminal", nullptr, nullptr},
                                      {"use_karras_sigmas", false, false},
                                      {"use_exponential_sigmas", false, false},
                                      {"use_beta_sigmas", false, false}};
const std::vector<Requirement> kOfMultistep{{"prediction_type", "flow_prediction", "epsilon"},
                                            {"use_flow_sigmas", true, false},
                                            {"solver_order", 2, 2},
                                            {"lower_order_final", true, true},
                                            {"final_sigmas_type", "zero", "zero"},
                                            {"thresholding", false, false}};
const std::vector<Requirement> kOfUniPc{{"solver_type", "bh2", "bh2"},
                                        {"predict_x0", true, true},
                                        {"disable_corrector", Json::array(), Json::array()},
                                        {"solver_p", nullptr, nullptr}};
const std::vector<Requirement> kOfDpm{{"algorithm_type", "dpmsolver++", "dpmsolver++"},
                                      {"solver_type", "midpoint", "midpoint"},
                                      {"euler_at_final", false, false},
                                      {"use_lu_lambdas", false, false},
                                      {"variance_type", nullptr, nullptr}};
const std::vector<Requirement> kOfEuler{{"invert_sigmas", false, false}, {"stochastic_sampling", false, false}};

const std::map<std::string, std::vector<std::vector<Requirement>>> kSchedulers{
    {"UniPCMultistepScheduler", {kOfAll, kOfMultistep, kOfUniPc}},
    {"DPMSolverMultistepScheduler", {kOfAll, kOfMultistep, kOfDpm}},
    {"FlowMatchEulerDiscreteScheduler", {kOfAll, kOfEuler}}};

const std::vector<std::vector<Requirement>>& requirements(const Json& config, const std::string& path) {
  const auto entry = config.find("_class_name");
  const std::string name = entry != config.end() && entry->is_string() ? entry->get<std::string>() : "";
  const auto known = kSchedulers.find(name);
  if (known != kSchedulers.end()) return known->second;
  throw Error(ErrorKind::model, path + ": _class_name: \"" + base::printable(name) +
                                    "\" is not supported; UniPCMultistepScheduler, DPMSolverMultistepScheduler and "
                                    "FlowMatchEulerDiscreteScheduler are");
}

void check_requirement(const Requirement& required, const Json& config, const std::string& path) {
  const Json value = config.value(required.key, required.diffusers_default);
  if (value == required.value) return;
  throw Error(ErrorKind::model, path + ": " + required.key + ": " + base::printable(value.dump()) +
                                    " is not supported; only " + required.value.dump() + " is");
}

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

SchedulerConfig parse_scheduler_config(const Json& config, const std::string& path) {
  if (!config.is_object()) throw Error(ErrorKind::model, path + ": not a JSON object");
  for (const auto& list : requirements(config, path)) {
    for (const Requirement& required : list) check_requirement(required, config, path);
  }
  SchedulerConfig parsed;
  const Json steps = config.value("num_train_timesteps", Json(parsed.num_train_timesteps));
  if (!steps.is_number_integer() || steps < 1 || steps > 1000000) {
    throw Error(ErrorKind::model, path + ": num_train_timesteps: must be a whole number from 1 to 1000000");
  }
  parsed.num_train_timesteps = steps.get<std::int64_t>();
  return parsed;
}

Method method_of(const std::string& name) {
  if (name == "unipc") return Method::unipc;
  if (name == "dpm++") return Method::dpm_plus_plus;
  if (name == "euler") return Method::euler;
  throw Error(ErrorKind::job, "sampler: \"" + base::printable(name) + "\" is not known; unipc, dpm++ and euler are");
}

Schedule make_schedule(const ScheduleSettings& settings, const SchedulerConfig& config) {
  check_settings(settings);
  const auto train_steps = static_cast<double>(config.num_train_timesteps);
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

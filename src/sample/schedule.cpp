#include "nightreel/sample/schedule.h"

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

std::vector<Requirement> requirements(const std::string& scheduler) {
  std::vector<Requirement> list{{"use_dynamic_shifting", false, false},
                                {"shift_terminal", nullptr, nullptr},
                                {"use_karras_sigmas", false, false},
                                {"use_exponential_sigmas", false, false},
                                {"use_beta_sigmas", false, false}};
  if (scheduler == "UniPCMultistepScheduler") {
    const std::vector<Requirement> unipc{{"prediction_type", "flow_prediction", "epsilon"},
                                         {"use_flow_sigmas", true, false},
                                         {"solver_order", 2, 2},
                                         {"solver_type", "bh2", "bh2"},
                                         {"predict_x0", true, true},
                                         {"lower_order_final", true, true},
                                         {"final_sigmas_type", "zero", "zero"},
                                         {"thresholding", false, false},
                                         {"disable_corrector", Json::array(), Json::array()},
                                         {"solver_p", nullptr, nullptr}};
    list.insert(list.end(), unipc.begin(), unipc.end());
  } else {
    list.push_back({"invert_sigmas", false, false});
    list.push_back({"stochastic_sampling", false, false});
  }
  return list;
}

std::string scheduler_class(const Json& config, const std::string& path) {
  const auto entry = config.find("_class_name");
  const std::string name = entry != config.end() && entry->is_string() ? entry->get<std::string>() : "";
  if (name != "UniPCMultistepScheduler" && name != "FlowMatchEulerDiscreteScheduler") {
    throw Error(ErrorKind::model, path + ": _class_name: \"" + base::printable(name) +
                                      "\" is not supported; UniPCMultistepScheduler and "
                                      "FlowMatchEulerDiscreteScheduler are");
  }
  return name;
}

}  // namespace

SchedulerConfig parse_scheduler_config(const Json& config, const std::string& path) {
  if (!config.is_object()) throw Error(ErrorKind::model, path + ": not a JSON object");
  for (const Requirement& required : requirements(scheduler_class(config, path))) {
    const Json value = config.value(required.key, required.diffusers_default);
    if (value != required.value) {
      throw Error(ErrorKind::model, path + ": " + required.key + ": " + base::printable(value.dump()) +
                                        " is not supported; only " + required.value.dump() + " is");
    }
  }
  SchedulerConfig parsed;
  const Json steps = config.value("num_train_timesteps", Json(parsed.num_train_timesteps));
  if (!steps.is_number_integer() || steps < 1 || steps > 1000000) {
    throw Error(ErrorKind::model, path + ": num_train_timesteps: must be a whole number from 1 to 1000000");
  }
  parsed.num_train_timesteps = steps.get<std::int64_t>();
  return parsed;
}

Schedule make_flow_schedule(std::int64_t steps, double flow_shift, const SchedulerConfig& config) {
  if (steps < 1) throw Error(ErrorKind::job, "num_inference_steps: must be at least 1");
  if (!std::isfinite(flow_shift) || flow_shift <= 0) {
    throw Error(ErrorKind::job, "flow_shift: must be a positive number");
  }
  // numpy.linspace(1, 1/T, steps + 1)[:-1] in float64, operation by operation.
  const auto train_steps = static_cast<double>(config.num_train_timesteps);
  const double stride = (1 / train_steps - 1) / static_cast<double>(steps);
  constexpr double kEpsilon = 1e-6;  // keeps log(1 - sigma) of the first step finite
  Schedule schedule;
  for (std::int64_t i = 0; i < steps; ++i) {
    const double linear = static_cast<double>(i) * stride + 1;
    double sigma = flow_shift * linear / (1 + (flow_shift - 1) * linear);
    if (i == 0 && std::fabs(sigma - 1) < kEpsilon) sigma -= kEpsilon;
    schedule.timesteps.push_back(static_cast<std::int64_t>(sigma * train_steps));
    schedule.sigmas.push_back(static_cast<float>(sigma));
  }
  schedule.sigmas.push_back(0);
  return schedule;
}

}  // namespace nightreel::sample

// What scheduler_config.json may say, and what would change a schedule or a solver.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "nightreel/card/configs.h"
#include "support/error.h"

using namespace nightreel;
using test::contains;
using test::error_of;
using Json = nlohmann::json;

namespace {

Json wan_scheduler() {
  return {{"_class_name", "UniPCMultistepScheduler"},
          {"prediction_type", "flow_prediction"},
          {"use_flow_sigmas", true},
          {"flow_shift", 3.0},
          {"solver_order", 2},
          {"beta_start", 0.0001},
          {"timestep_spacing", "linspace"}};
}

Json dpm_scheduler() {
  Json config = wan_scheduler();
  config["_class_name"] = "DPMSolverMultistepScheduler";
  return config;
}

}  // namespace

TEST_CASE("the schedules of the diffusers classes that Wan checkpoints name are read") {
  CHECK(card::parse_scheduler_config(wan_scheduler(), "s.json").num_train_timesteps == 1000);
  const Json euler{{"_class_name", "FlowMatchEulerDiscreteScheduler"}, {"shift", 5.0}, {"num_train_timesteps", 500}};
  CHECK(card::parse_scheduler_config(euler, "s.json").num_train_timesteps == 500);
  CHECK(card::parse_scheduler_config(dpm_scheduler(), "s.json").num_train_timesteps == 1000);
}

TEST_CASE("a scheduler setting that would change the result is an error that names it") {
  struct Case {
    const char* key;
    Json value;
  };
  for (const Case& c :
       {Case{"_class_name", "DDIMScheduler"}, Case{"_class_name", 7}, Case{"prediction_type", "epsilon"},
        Case{"use_flow_sigmas", false}, Case{"solver_order", 3}, Case{"solver_type", "bh1"}, Case{"predict_x0", false},
        Case{"lower_order_final", false}, Case{"final_sigmas_type", "sigma_min"}, Case{"thresholding", true},
        Case{"disable_corrector", Json::array({0})}, Case{"use_karras_sigmas", true},
        Case{"use_exponential_sigmas", true}, Case{"use_beta_sigmas", true}, Case{"use_dynamic_shifting", true},
        Case{"shift_terminal", 0.1}, Case{"num_train_timesteps", 0}, Case{"num_train_timesteps", "1000"}}) {
    CAPTURE(c.key);
    Json config = wan_scheduler();
    config[c.key] = c.value;
    const std::string message =
        error_of(base::ErrorKind::model, [&] { card::parse_scheduler_config(config, "dir/scheduler_config.json"); });
    CHECK(contains(message, "dir/scheduler_config.json: "));
    CHECK(contains(message, c.key));
  }
  for (const Case& c : {Case{"algorithm_type", "sde-dpmsolver++"}, Case{"solver_type", "heun"},
                        Case{"euler_at_final", true}, Case{"use_lu_lambdas", true}, Case{"variance_type", "learned"},
                        Case{"solver_order", 3}, Case{"use_flow_sigmas", false}}) {
    Json config = dpm_scheduler();
    config[c.key] = c.value;
    CHECK(contains(error_of(base::ErrorKind::model, [&] { card::parse_scheduler_config(config, "s.json"); }), c.key));
  }
  Json silent = wan_scheduler();
  silent.erase("prediction_type");  // diffusers' own default is epsilon
  CHECK(contains(error_of(base::ErrorKind::model, [&] { card::parse_scheduler_config(silent, "s.json"); }),
                 "prediction_type"));
  CHECK(contains(error_of(base::ErrorKind::model, [&] { card::parse_scheduler_config(Json::array(), "s.json"); }),
                 "not a JSON object"));
}

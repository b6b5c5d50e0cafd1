// scheduler/scheduler_config.json: which sampler, and that its schedule and solver are those of this program.
#include <algorithm>
#include <array>

#include "card/config_reader.h"
#include "nightreel/base/error.h"
#include "nightreel/card/configs.h"

namespace nightreel::card {

using base::Json;

namespace {

/// What a class must say for the schedule and the solver to be those of this program. Each is diffusers' default, which
/// counts where the file is silent.
struct Requirement {
  const char* field;
  Json value;
};
using Requirements = std::vector<Requirement>;

const Requirements kOfAll{{"use_dynamic_shifting", false},
                          {"shift_terminal", nullptr},
                          {"use_karras_sigmas", false},
                          {"use_exponential_sigmas", false},
                          {"use_beta_sigmas", false}};
const Requirements kOfMultistep{
    {"solver_order", 2}, {"lower_order_final", true}, {"final_sigmas_type", "zero"}, {"thresholding", false}};
const Requirements kOfUniPc{
    {"solver_type", "bh2"}, {"predict_x0", true}, {"disable_corrector", Json::array()}, {"solver_p", nullptr}};
const Requirements kOfDpm{{"algorithm_type", "dpmsolver++"},
                          {"solver_type", "midpoint"},
                          {"euler_at_final", false},
                          {"use_lu_lambdas", false},
                          {"variance_type", nullptr}};
const Requirements kOfEuler{{"invert_sigmas", false}, {"stochastic_sampling", false}};

struct SchedulerClass {
  const char* name;
  const char* sampler;
  const char* shift;  // what it calls flow_shift
  bool multistep;
  const Requirements& own;
};

const std::array<SchedulerClass, 3> kClasses{{{"UniPCMultistepScheduler", "unipc", "flow_shift", true, kOfUniPc},
                                              {"DPMSolverMultistepScheduler", "dpm++", "flow_shift", true, kOfDpm},
                                              {"FlowMatchEulerDiscreteScheduler", "euler", "shift", false, kOfEuler}}};

const SchedulerClass& class_of(ConfigReader& read) {
  const std::string name = read.text("_class_name");
  const auto* found =
      std::find_if(kClasses.begin(), kClasses.end(), [&](const SchedulerClass& one) { return name == one.name; });
  if (found != kClasses.end()) return *found;
  read.refuse("_class_name", base::printable(name, 60) +
                                 " is not supported, only UniPCMultistepScheduler, DPMSolverMultistepScheduler and "
                                 "FlowMatchEulerDiscreteScheduler");
}

void check_requirements(ConfigReader& read, const Requirements& requirements) {
  for (const auto& [field, value] : requirements) {
    read.require(field, value, "only " + base::dump_json(value) + " is");
  }
}

/// UniPC and DPM++ are flow-matching samplers only with these two fields; diffusers' own defaults are not.
void require_flow(ConfigReader& read) {
  if (!read.boolean("use_flow_sigmas", false)) read.refuse("use_flow_sigmas", "must be true for a Wan model");
  if (read.value("prediction_type") != "flow_prediction") {
    read.refuse("prediction_type", "must be flow_prediction for a Wan model");
  }
}

/// Fields that do not change a schedule of flow sigmas, and those of the other classes: diffusers' from_config(), by
/// which one scheduler is made of another's configuration, keeps them all.
void ignore_unused(ConfigReader& read) {
  read.ignore({"base_image_seq_len", "base_shift", "beta_end", "beta_schedule", "beta_start",
               "dynamic_thresholding_ratio", "lambda_min_clipped", "max_image_seq_len", "max_shift",
               "rescale_betas_zero_snr", "sample_max_value", "sigma_max", "sigma_min", "steps_offset",
               "time_shift_type", "timestep_spacing", "trained_betas"});
  read.ignore({"flow_shift", "shift", "prediction_type", "use_flow_sigmas"});
  for (const Requirements* list : {&kOfMultistep, &kOfUniPc, &kOfDpm, &kOfEuler}) {
    for (const Requirement& required : *list) read.ignore({required.field});
  }
}

}  // namespace

SchedulerConfig parse_scheduler_config(const Json& config, const std::string& path) {
  ConfigReader read(config, path);
  const SchedulerClass& scheduler = class_of(read);
  if (scheduler.multistep) {
    require_flow(read);
    check_requirements(read, kOfMultistep);
  }
  check_requirements(read, kOfAll);
  check_requirements(read, scheduler.own);
  SchedulerConfig parsed;
  parsed.sampler = scheduler.sampler;
  parsed.flow_shift = read.number(scheduler.shift, 1e-6, 1000, parsed.flow_shift);
  parsed.num_train_timesteps = read.integer("num_train_timesteps", parsed.num_train_timesteps, 1000000);
  ignore_unused(read);
  read.refuse_unknown();
  return parsed;
}

}  // namespace nightreel::card

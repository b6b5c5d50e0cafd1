#include "nightreel/job/resolve.h"

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"

namespace nightreel::job {
namespace {

using base::Error;
using settings::Settings;

Settings fill_in(const Job& job, const Recipe& recipe) {
  Settings s = recipe.defaults;
  settings::overlay(job, s);
  const bool is_480p = std::min(s.height, s.width) == 480 && std::max(s.height, s.width) == 832;
  if (is_480p && !job.states("flow_shift")) s.flow_shift = recipe.flow_shift_480p.value_or(s.flow_shift);
  if (!s.sigmas.empty()) s.num_inference_steps = static_cast<std::int64_t>(s.sigmas.size());
  if (!job.states("seed")) s.seed = job.default_seed;
  return s;
}

}  // namespace

Settings resolve(const Job& job, const card::Card& card, const Recipe& recipe) {
  Settings s = fill_in(job, recipe);
  card.check(s);
  if (card.two_experts() && !s.guidance_scale_2) s.guidance_scale_2 = s.guidance_scale;
  return s;
}

void check_jobs(const std::vector<Job>& jobs, const card::Card& card, const Recipe& recipe) {
  BadLines bad(JobFileLimits{}.shown);
  for (const auto& job : jobs) {
    try {
      resolve(job, card, recipe);
    } catch (const Error& e) {
      bad.add((job.origin.empty() ? "" : job.origin + ": ") + e.what());
    }
  }
  bad.check();
}

}  // namespace nightreel::job

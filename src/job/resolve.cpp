#include "nightreel/job/resolve.h"

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"

namespace nightreel::job {
namespace {

using base::Error;

Settings fill_in(const Job& job, const Recipe& recipe) {
  Settings s = recipe.defaults;
  const Overrides& o = job.overrides;
  s.prompt = job.prompt;
  s.negative_prompt = o.negative_prompt.value_or(s.negative_prompt);
  s.image = job.image;
  s.last_image = job.last_image;
  s.height = o.height.value_or(s.height);
  s.width = o.width.value_or(s.width);
  s.num_frames = o.num_frames.value_or(s.num_frames);
  s.fps = o.fps.value_or(s.fps);
  s.num_inference_steps = o.num_inference_steps.value_or(s.num_inference_steps);
  s.guidance_scale = o.guidance_scale.value_or(s.guidance_scale);
  if (o.guidance_scale_2) s.guidance_scale_2 = o.guidance_scale_2;
  const bool is_480p = std::min(s.height, s.width) == 480 && std::max(s.height, s.width) == 832;
  if (is_480p) s.flow_shift = recipe.flow_shift_480p.value_or(s.flow_shift);
  s.flow_shift = job.flow_shift.value_or(s.flow_shift);
  if (job.boundary_ratio) s.boundary_ratio = job.boundary_ratio;
  s.sampler = job.sampler.value_or(s.sampler);
  s.sigmas = job.sigmas;
  if (!s.sigmas.empty()) s.num_inference_steps = static_cast<std::int64_t>(s.sigmas.size());
  s.seed = job.seed.value_or(job.default_seed);
  s.loras = job.loras;
  return s;
}

}  // namespace

card::Video video_of(const Settings& settings) {
  card::Video video{settings.height,
                    settings.width,
                    settings.num_frames,
                    !settings.image.empty(),
                    !settings.last_image.empty(),
                    settings.boundary_ratio,
                    settings.guidance_scale_2,
                    {}};
  for (const Lora& lora : settings.loras) video.lora_experts.push_back(lora.expert);
  return video;
}

Settings resolve(const Job& job, const card::Card& card, const Recipe& recipe) {
  Settings s = fill_in(job, recipe);
  card.check(video_of(s));
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

#include "nightreel/job/resolve.h"

#include <fmt/format.h>

#include <algorithm>

#include "nightreel/base/fields.h"
#include "nightreel/job/job_file.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;
using base::refuse;

void check_multiple(std::string_view field, std::int64_t value, std::int64_t unit) {
  if (value % unit == 0) return;
  const std::int64_t below = value / unit * unit;
  const std::string nearest = below > 0 ? fmt::format("{}, {}", below, below + unit) : std::to_string(unit);
  refuse(field, fmt::format("{} is no multiple of {}; nearest: {}", value, unit, nearest));
}

/// Frames come in latent frames, the first of one frame and each further one of vae_temporal, and the transformer takes
/// patch_size[0] latent frames at a time.
void check_frames(std::int64_t frames, const ModelCard& card) {
  const std::int64_t unit = card.vae_temporal * card.transformer.patch_size[0];
  const std::int64_t rest = 1 + card.vae_temporal * (card.transformer.patch_size[0] - 1);
  const std::int64_t below = frames < rest ? 0 : (frames - rest) / unit * unit + rest;
  if (frames == below) return;
  const std::string nearest = below > 0 ? fmt::format("{}, {}", below, below + unit) : std::to_string(rest);
  refuse("num_frames", fmt::format("{} is not {}n+{}; nearest: {}", frames, unit, rest, nearest));
}

/// Rotary positions end there, as in diffusers: the transformer would refuse it after its weights were loaded.
void check_length(std::string_view field, std::int64_t value, std::int64_t patches, std::int64_t longest,
                  const ModelCard& card) {
  if (patches <= card.rope_max_seq_len) return;
  refuse(field, fmt::format("{} is more than this model's rope_max_seq_len of {} allows; at most {}", value,
                            card.rope_max_seq_len, longest));
}

void check_rope(const Settings& s, const ModelCard& card) {
  const std::int64_t most = card.rope_max_seq_len;
  const std::int64_t unit = card.vae_temporal * card.transformer.patch_size[0];
  const std::int64_t latent_frames = (s.num_frames - 1) / card.vae_temporal + 1;
  check_length("height", s.height, s.height / card.height_multiple(), most * card.height_multiple(), card);
  check_length("width", s.width, s.width / card.width_multiple(), most * card.width_multiple(), card);
  check_length("num_frames", s.num_frames, latent_frames / card.transformer.patch_size[0],
               most * unit - card.vae_temporal + 1, card);
}

void check_experts(const Job& job, const Settings& s, const ModelCard& card) {
  if (card.two_experts()) {
    if (!s.boundary_ratio) {
      refuse("boundary_ratio",
             "this model has two experts, and neither job nor checkpoint says where they change over");
    }
    return;
  }
  if (job.states("boundary_ratio")) refuse("boundary_ratio", "this model has one expert: leave it out");
  if (job.states("guidance_scale_2")) refuse("guidance_scale_2", "this model has one expert: leave it out");
  for (std::size_t i = 0; i < s.loras.size(); ++i) {
    if (s.loras[i].expert != "low") continue;
    refuse("loras", fmt::format("[{}]: expert: low: this model has one expert: leave it out", i));
  }
}

void check_images(const Settings& s, const ModelCard& card) {
  if (!s.last_image.empty() && s.num_frames < 2) refuse("num_frames", "1 leaves no room for a last picture");
  const bool first = !s.image.empty();
  const bool last = !s.last_image.empty();
  switch (card.kind) {
    case ModelKind::t2v:
      if (first) refuse("image", "this model makes videos from text alone: leave it out");
      break;
    case ModelKind::i2v:
      if (!first) refuse("image", "is required by this image-to-video model");
      if (last && card.transformer.image_dim > 0) refuse("last_image", "this model takes a first picture only");
      break;
    case ModelKind::flf2v:
      if (!first || !last) refuse(first ? "last_image" : "image", "this model needs the first and the last picture");
      break;
    case ModelKind::ti2v:
      if (last) refuse("last_image", "this model takes a first picture only");
      break;
  }
}

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

Settings resolve(const Job& job, const ModelCard& card, const Recipe& recipe) {
  Settings s = fill_in(job, recipe);
  check_multiple("height", s.height, card.height_multiple());
  check_multiple("width", s.width, card.width_multiple());
  check_frames(s.num_frames, card);
  check_rope(s, card);
  check_experts(job, s, card);
  if (card.two_experts() && !s.guidance_scale_2) s.guidance_scale_2 = s.guidance_scale;
  check_images(s, card);
  return s;
}

void check_jobs(const std::vector<Job>& jobs, const ModelCard& card, const Recipe& recipe) {
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

void check_supported(const ModelCard& card) {
  if (card.transformer.image_dim == 0 || card.has_image_encoder) return;
  throw Error(ErrorKind::model, base::printable(card.folder) +
                                    "/model_index.json: image_encoder: is missing, but the transformer has image_dim");
}

}  // namespace nightreel::job

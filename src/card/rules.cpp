// What a video of a checkpoint may be: sizes, frames, pictures, experts. A misfit names the nearest legal values.
#include <fmt/format.h>

#include <algorithm>

#include "nightreel/base/fields.h"
#include "nightreel/card/card.h"

namespace nightreel::card {
namespace {

using base::refuse;
using settings::Settings;

void check_multiple(const char* field, std::int64_t value, std::int64_t unit) {
  if (value > 0 && value % unit == 0) return;
  const std::int64_t below = value / unit * unit;
  const std::string nearest = below > 0 ? fmt::format("{}, {}", below, below + unit) : std::to_string(unit);
  refuse(field, fmt::format("{} is no multiple of {}; nearest: {}", value, unit, nearest));
}

/// Frames come in latent frames, the first of one frame and each further one of scale_factor_temporal, and the
/// transformer takes patch_size[0] latent frames at a time.
void check_frames(const Card& card, std::int64_t frames) {
  const std::int64_t unit = card.frames_step();
  const std::int64_t rest = card.least_frames();
  const std::int64_t below = frames < rest ? 0 : (frames - rest) / unit * unit + rest;
  if (frames == below && frames > 0) return;
  const std::string nearest = below > 0 ? fmt::format("{}, {}", below, below + unit) : std::to_string(rest);
  refuse("num_frames", fmt::format("{} is not {}n+{}; nearest: {}", frames, unit, rest, nearest));
}

/// Rotary positions end there, as in diffusers: the transformer would refuse it after its weights were loaded.
void check_rope(const Card& card, const Settings& video) {
  std::int64_t most = card.transformer().rope_max_seq_len;  // patches
  for (const TransformerConfig& expert : card.transformers) most = std::min(most, expert.rope_max_seq_len);
  const auto check = [&](const char* field, std::int64_t value, std::int64_t longest) {
    if (value <= longest) return;
    refuse(field,
           fmt::format("{} is more than this model's rope_max_seq_len of {} allows; at most {}", value, most, longest));
  };
  check("height", video.height, most * card.height_multiple());
  check("width", video.width, most * card.width_multiple());
  check("num_frames", video.num_frames, card.least_frames() + (most - 1) * card.frames_step());
}

void check_experts(const Card& card, const Settings& video) {
  if (card.two_experts()) {
    if (video.boundary_ratio) return;
    refuse("boundary_ratio", "this model has two experts, and neither job nor checkpoint says where they change over");
  }
  if (video.boundary_ratio) refuse("boundary_ratio", "this model has one expert: leave it out");
  if (video.guidance_scale_2) refuse("guidance_scale_2", "this model has one expert: leave it out");
  for (std::size_t i = 0; i < video.loras.size(); ++i) {
    if (video.loras[i].expert != "low") continue;
    refuse("loras", fmt::format("[{}]: expert: low: this model has one expert: leave it out", i));
  }
}

void check_pictures(const Card& card, const Settings& video) {
  const bool first = !video.image.empty();
  const bool last = !video.last_image.empty();
  if (last && video.num_frames < 2) refuse("num_frames", "1 leaves no room for a last picture");
  switch (card.kind) {
    case ModelKind::t2v:
      if (first) refuse("image", "this model makes videos from text alone: leave it out");
      if (last) refuse("last_image", "this model makes videos from text alone: leave it out");
      break;
    case ModelKind::i2v:
      if (!first) refuse("image", "is required by this image-to-video model");
      if (last && card.transformer().image_dim > 0) {
        refuse("last_image", "this model takes a first picture only");
      }
      break;
    case ModelKind::flf2v:
      if (first && last) break;
      refuse(first ? "last_image" : "image", "this model needs the first and the last picture");
    case ModelKind::ti2v:
      if (last) refuse("last_image", "this model takes a first picture only");
      break;
  }
}

}  // namespace

void Card::check_size(const settings::Settings& video) const {
  check_multiple("height", video.height, height_multiple());
  check_multiple("width", video.width, width_multiple());
  check_frames(*this, video.num_frames);
  check_rope(*this, video);
}

void Card::check(const settings::Settings& video) const {
  check_size(video);
  check_experts(*this, video);
  check_pictures(*this, video);
}

std::vector<std::int64_t> Card::latent_shape(const settings::Settings& video) const {
  return {vae.z_dim, (video.num_frames - 1) / vae.scale_factor_temporal + 1, video.height / vae.scale_factor_spatial,
          video.width / vae.scale_factor_spatial};
}

}  // namespace nightreel::card

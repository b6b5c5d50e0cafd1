// What a checkpoint is, from the JSON files of its folder alone: no tensor is read, so that a job can be checked
// against the model before any renderer starts. The one description, and the one set of rules for what a video may be.
//
// Plain values; any thread. A folder that is missing, of another layout, or whose files contradict each other is an
// Error{model} that names the file and the field; a video that the model does not make an Error{job} "field: reason".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/base/json.h"
#include "nightreel/card/configs.h"
#include "nightreel/settings/settings.h"
#include "nightreel/settings/stated.h"

namespace nightreel::card {

enum class ModelKind {
  t2v,    // text to video
  i2v,    // a first picture (and perhaps a last one) to video
  flf2v,  // first and last picture to video
  ti2v    // text, and perhaps a first picture: one timestep a token (expand_timesteps)
};
std::string_view name(ModelKind kind);

/// Rows of a prompt's embeddings: max_sequence_length of diffusers' WanPipeline.
inline constexpr std::int64_t kTextLen = 512;

struct Card {
  std::string folder;
  ModelKind kind = ModelKind::t2v;
  std::string published;             // the Wan model with exactly these dimensions; empty: none
  std::vector<std::string> experts;  // component folders, the high-noise one first: one or two
  std::vector<TransformerConfig> transformers{TransformerConfig()};  // of each expert, of the same dimensions
  VaeConfig vae;
  Umt5Config text_encoder;
  bool has_image_encoder = false;                 // CLIP's, by model_index.json
  std::optional<ClipVisionConfig> image_encoder;  // absent where the transformers do not look at it
  ClipPictureConfig picture;
  SchedulerConfig scheduler;
  std::optional<double> boundary_ratio;
  settings::Stated stated;                            // nightreel.json
  std::map<std::string, std::uint64_t> weight_bytes;  // component -> bytes of its files

  const TransformerConfig& transformer() const { return transformers.front(); }
  bool two_experts() const { return transformers.size() == 2; }
  /// Wan 2.2 TI2V: a picture stands in place of the first latent frame, whose tokens are told time step 0.
  bool expand_timesteps() const { return kind == ModelKind::ti2v; }
  /// Channels that the transformer takes beside the noisy latents: 0, or those of a mask and a picture.
  std::int64_t condition_channels() const { return transformer().in_channels - transformer().out_channels; }

  std::int64_t height_multiple() const { return vae.scale_factor_spatial * transformer().patch_size[1]; }
  std::int64_t width_multiple() const { return vae.scale_factor_spatial * transformer().patch_size[2]; }
  /// Frames come in so many at a time, after the least: a video has n * frames_step() + least_frames() of them.
  std::int64_t frames_step() const { return vae.scale_factor_temporal * transformer().patch_size[0]; }
  std::int64_t least_frames() const { return 1 + vae.scale_factor_temporal * (transformer().patch_size[0] - 1); }
  /// [channels, frames, rows, columns] of the latents of a video of these sizes.
  std::vector<std::int64_t> latent_shape(const settings::Settings& video) const;

  /// Throws Error{job} for a video that this model does not make: sizes, frames, pictures, experts.
  void check(const settings::Settings& video) const;
  /// The same of the sizes alone.
  void check_size(const settings::Settings& video) const;
};

/// The folder's card, in either layout (checkpoint.h).
Card read(const std::string& folder);

/// Throws Error{model} for what checkpoints may be, but this version does not render.
void check_supported(const Card& card);

/// For people and programs that ask what a checkpoint is.
base::Json to_json(const Card& card);

}  // namespace nightreel::card

// What a checkpoint is, from the JSON files of its folder alone: no tensor is read, so that a job can be checked
// against the model before any renderer starts.
//
// Plain values; any thread. A folder that is missing, of another layout, or whose files contradict each other is an
// Error{model} that names the file and the field.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/settings/stated.h"

namespace nightreel::job {

using base::Json;

enum class ModelKind {
  t2v,    // text to video
  i2v,    // a first picture (and perhaps a last one) to video
  flf2v,  // first and last picture to video
  ti2v    // text, and perhaps a first picture: one timestep a token (expand_timesteps)
};
std::string_view name(ModelKind kind);

/// The dimensions of a Wan transformer, as its config.json names them.
struct TransformerSize {
  std::int64_t num_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t attention_head_dim = 0;
  std::int64_t ffn_dim = 0;
  std::int64_t freq_dim = 0;
  std::int64_t text_dim = 0;
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  std::int64_t image_dim = 0;                       // 0: no branch for CLIP's picture features
  std::int64_t pos_embed_seq_len = 0;               // 0: none
  std::array<std::int64_t, 3> patch_size{1, 2, 2};  // frames, height, width
  bool operator==(const TransformerSize&) const = default;
};

struct ModelCard {
  std::string folder;
  ModelKind kind = ModelKind::t2v;
  std::string published;                 // the Wan model with exactly these dimensions; empty: none
  std::vector<std::string> experts;      // component folders, the high-noise one first: one or two
  TransformerSize transformer;           // of each expert
  std::int64_t rope_max_seq_len = 1024;  // patches along one axis, at most
  std::int64_t z_dim = 0;                // latent channels
  std::int64_t vae_spatial = 8;          // pixels a latent cell, each way
  std::int64_t vae_temporal = 4;         // frames a latent frame, but for the first
  std::int64_t text_len = 512;           // tokens
  bool has_image_encoder = false;        // CLIP's
  std::optional<double> boundary_ratio;
  std::string sampler;                                // as scheduler_config.json has it: unipc, dpm++, euler
  double flow_shift = 1.0;                            // likewise
  settings::Stated stated;                            // nightreel.json
  std::map<std::string, std::uint64_t> weight_bytes;  // component -> bytes of its safetensors files

  std::int64_t height_multiple() const { return vae_spatial * transformer.patch_size[1]; }
  std::int64_t width_multiple() const { return vae_spatial * transformer.patch_size[2]; }
  bool two_experts() const { return experts.size() == 2; }
};

ModelCard read_model_card(const std::string& folder);

/// For people and programs that ask what a checkpoint is.
Json to_json(const ModelCard& card);

}  // namespace nightreel::job

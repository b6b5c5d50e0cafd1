// What the parts of a checkpoint are, as their config.json files say it: the one reader of each.
//
// Plain values; any thread. Defaults are those of diffusers' and transformers' classes, which count where a file is
// silent or says null. A value that this program does not have, and a field that none of these classes has, is an
// Error{model} "FILE: FIELD: reason"; fields that begin with an underscore are diffusers' own notes and passed over.
// Sources: diffusers 0.42.1 (WanTransformer3DModel, AutoencoderKLWan, the three schedulers), transformers 5.23
// (UMT5Config, CLIPVisionConfig, CLIPImageProcessor).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/base/json.h"

namespace nightreel::card {

/// WanTransformer3DModel.
struct TransformerConfig {
  std::array<std::int64_t, 3> patch_size{1, 2, 2};  // frames, rows, columns
  std::int64_t num_attention_heads = 40;
  std::int64_t attention_head_dim = 128;
  std::int64_t in_channels = 16;
  std::int64_t out_channels = 16;
  std::int64_t text_dim = 4096;
  std::int64_t freq_dim = 256;
  std::int64_t ffn_dim = 13824;
  std::int64_t num_layers = 40;
  std::int64_t rope_max_seq_len = 1024;  // patches along one axis, at most
  std::int64_t image_dim = 0;            // width of the image encoder; 0: the model knows pictures by latents alone
  std::int64_t added_kv_proj_dim = 0;    // the transformer's width where image_dim is given
  std::int64_t pos_embed_seq_len = 0;    // of the first and the last picture's vectors together; 0: none
  bool cross_attn_norm = true;
  double eps = 1e-6;

  std::int64_t width() const { return num_attention_heads * attention_head_dim; }
  bool operator==(const TransformerConfig&) const = default;
};

/// AutoencoderKLWan.
struct VaeConfig {
  std::int64_t base_dim = 96;
  std::int64_t decoder_base_dim = 96;
  std::int64_t z_dim = 16;  // latent channels
  std::vector<std::int64_t> dim_mult{1, 2, 4, 4};
  std::int64_t num_res_blocks = 2;
  std::vector<bool> temperal_downsample{false, true, true};  // diffusers' spelling
  // z_dim each
  std::vector<double> latents_mean{-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,  -0.1517, 1.5508,
                                   0.4134,  -0.0715, 0.5517,  -0.3632, -0.1922, -0.9497, 0.2503,  -0.2921};
  std::vector<double> latents_std{2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                                  3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160};
  std::int64_t scale_factor_temporal = 4;  // frames a latent frame, after the first
  std::int64_t scale_factor_spatial = 8;   // pixels a latent row or column
  bool is_residual = false;                // Wan 2.2: a shortcut around each stage
  std::int64_t patch_size = 1;             // Wan 2.2: 2; pixels each way that the layers see as channels of one cell

  std::int64_t cell_channels() const { return 3 * patch_size * patch_size; }
  std::int64_t cells_a_latent() const { return scale_factor_spatial / patch_size; }
  bool operator==(const VaeConfig&) const = default;
};

/// UMT5EncoderModel.
struct Umt5Config {
  std::int64_t vocab_size = 250112;
  std::int64_t d_model = 512;
  std::int64_t d_kv = 64;
  std::int64_t d_ff = 1024;
  std::int64_t num_layers = 8;
  std::int64_t num_heads = 6;
  std::int64_t relative_attention_num_buckets = 32;
  std::int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;

  bool operator==(const Umt5Config&) const = default;
};

/// CLIPVisionModel.
struct ClipVisionConfig {
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t image_size = 224;
  std::int64_t patch_size = 32;
  bool quick_gelu = true;
  double layer_norm_eps = 1e-5;

  std::int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size) + 1; }
  bool operator==(const ClipVisionConfig&) const = default;
};

/// image_processor/preprocessor_config.json: a picture is brought to `shortest_edge` by Pillow's bicubic filter, cut to
/// the square in its middle, and its colours to this mean and spread.
struct ClipPictureConfig {
  std::int64_t shortest_edge = 224;
  std::int64_t crop = 224;
  std::array<double, 3> mean{0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> std{0.26862954, 0.26130258, 0.27577711};

  bool operator==(const ClipPictureConfig&) const = default;
};

/// scheduler/scheduler_config.json.
struct SchedulerConfig {
  std::string sampler = "unipc";  // unipc, dpm++, euler
  double flow_shift = 1.0;
  std::int64_t num_train_timesteps = 1000;

  bool operator==(const SchedulerConfig&) const = default;
};

/// Each reads one file's content; `path` is named in errors.
TransformerConfig parse_transformer_config(const base::Json& config, const std::string& path);
VaeConfig parse_vae_config(const base::Json& config, const std::string& path);
Umt5Config parse_umt5_config(const base::Json& config, const std::string& path);
ClipVisionConfig parse_clip_vision_config(const base::Json& config, const std::string& path);
ClipPictureConfig parse_clip_picture_config(const base::Json& config, const std::string& path);
SchedulerConfig parse_scheduler_config(const base::Json& config, const std::string& path);

/// The same of a component's folder, FOLDER/transformer, in either layout (checkpoint.h).
TransformerConfig read_transformer_config(const std::string& component);
VaeConfig read_vae_config(const std::string& component);
Umt5Config read_umt5_config(const std::string& component);
ClipVisionConfig read_clip_vision_config(const std::string& component);
/// Of the checkpoint FOLDER; the pictures must be cut to the size that `encoder` looks at.
ClipPictureConfig read_clip_picture_config(const std::string& folder, const ClipVisionConfig& encoder);

/// In the words of the file that each comes from: what parse_… makes of it is the same again.
base::Json to_json(const TransformerConfig& config);
base::Json to_json(const VaeConfig& config);
base::Json to_json(const Umt5Config& config);
base::Json to_json(const ClipVisionConfig& config);

}  // namespace nightreel::card

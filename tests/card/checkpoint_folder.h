// The JSON files of a checkpoint, written for one test: the published models' and changed ones.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nightreel/base/json.h"
#include "nightreel/card/card.h"
#include "support/temp_folder.h"

namespace nightreel::test {

/// File name -> content, as in a Diffusers folder.
using CheckpointFiles = std::map<std::string, base::Json>;

inline base::Json transformer_config(int layers, int heads, int ffn, int in, int out) {
  base::Json config = base::parse_json(R"({"_class_name": "WanTransformer3DModel", "added_kv_proj_dim": null,
      "attention_head_dim": 128, "cross_attn_norm": true, "eps": 1e-06, "freq_dim": 256, "image_dim": null,
      "patch_size": [1, 2, 2], "pos_embed_seq_len": null, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024,
      "text_dim": 4096})");
  config["num_layers"] = layers;
  config["num_attention_heads"] = heads;
  config["ffn_dim"] = ffn;
  config["in_channels"] = in;
  config["out_channels"] = out;
  return config;
}

/// Wan2.1-T2V-1.3B as the hub has it.
inline CheckpointFiles small_t2v() {
  CheckpointFiles files;
  files["model_index.json"] = base::parse_json(R"({"_class_name": "WanPipeline", "_diffusers_version": "0.33.0.dev0",
      "scheduler": ["diffusers", "UniPCMultistepScheduler"], "text_encoder": ["transformers", "UMT5EncoderModel"],
      "tokenizer": ["transformers", "T5TokenizerFast"], "transformer": ["diffusers", "WanTransformer3DModel"],
      "vae": ["diffusers", "AutoencoderKLWan"]})");
  files["transformer/config.json"] = transformer_config(30, 12, 8960, 16, 16);
  files["vae/config.json"] = base::parse_json(R"({"_class_name": "AutoencoderKLWan", "base_dim": 96,
      "dim_mult": [1, 2, 4, 4], "temperal_downsample": [false, true, true], "z_dim": 16})");
  files["text_encoder/config.json"] = base::parse_json(R"({"d_model": 4096, "num_layers": 24})");
  files["scheduler/scheduler_config.json"] = base::parse_json(R"({"_class_name": "UniPCMultistepScheduler",
      "flow_shift": 3.0, "prediction_type": "flow_prediction", "use_flow_sigmas": true})");
  return files;
}

/// A VAE's latents: as many means and deviations as channels.
inline void set_z_dim(base::Json& vae, std::size_t channels) {
  vae["z_dim"] = channels;
  vae["latents_mean"] = std::vector<double>(channels, 0.0);
  vae["latents_std"] = std::vector<double>(channels, 1.0);
}

/// The entry of model_index.json for a component that is not there.
inline base::Json no_component() {
  return base::parse_json("[null, null]");
}

/// Wan2.2-T2V-A14B as diffusers' conversion writes it: flow_shift 3, not the published 12.
inline CheckpointFiles t2v_a14b() {
  CheckpointFiles files = small_t2v();
  files["model_index.json"]["transformer_2"] = files["model_index.json"]["transformer"];
  files["model_index.json"]["boundary_ratio"] = 0.875;
  files["model_index.json"]["expand_timesteps"] = false;
  files["transformer/config.json"] = transformer_config(40, 40, 13824, 16, 16);
  files["transformer_2/config.json"] = files["transformer/config.json"];
  return files;
}

inline CheckpointFiles i2v_a14b() {
  CheckpointFiles files = t2v_a14b();
  files["model_index.json"]["_class_name"] = "WanImageToVideoPipeline";
  files["model_index.json"]["boundary_ratio"] = 0.9;
  files["model_index.json"]["image_encoder"] = no_component();
  files["model_index.json"]["image_processor"] = no_component();
  files["transformer/config.json"] = transformer_config(40, 40, 13824, 36, 16);
  files["transformer_2/config.json"] = files["transformer/config.json"];
  return files;
}

inline CheckpointFiles ti2v_5b() {
  CheckpointFiles files = small_t2v();
  files["model_index.json"]["transformer_2"] = no_component();
  files["model_index.json"]["boundary_ratio"] = nullptr;
  files["model_index.json"]["expand_timesteps"] = true;
  files["transformer/config.json"] = transformer_config(30, 24, 14336, 48, 48);
  set_z_dim(files["vae/config.json"], 48);
  for (const char* colours : {"in_channels", "out_channels"}) files["vae/config.json"][colours] = 12;
  files["vae/config.json"]["patch_size"] = 2;
  files["vae/config.json"]["scale_factor_spatial"] = 16;
  files["vae/config.json"]["scale_factor_temporal"] = 4;
  files["scheduler/scheduler_config.json"]["flow_shift"] = 5.0;
  return files;
}

inline CheckpointFiles wan21_14b(int in_channels, int pos_embed_seq_len) {
  CheckpointFiles files = small_t2v();
  files["transformer/config.json"] = transformer_config(40, 40, 13824, in_channels, 16);
  if (in_channels == 16) return files;
  files["model_index.json"]["_class_name"] = "WanImageToVideoPipeline";
  files["model_index.json"]["image_encoder"] = base::parse_json(R"(["transformers", "CLIPVisionModel"])");
  files["image_encoder/config.json"] = base::parse_json(R"({"model_type": "clip_vision_model", "hidden_act": "gelu",
      "hidden_size": 1280, "image_size": 224, "intermediate_size": 5120, "num_attention_heads": 16,
      "num_hidden_layers": 32, "patch_size": 14})");
  files["image_processor/preprocessor_config.json"] = base::Json::object();
  files["transformer/config.json"]["image_dim"] = 1280;
  files["transformer/config.json"]["added_kv_proj_dim"] = 5120;
  if (pos_embed_seq_len > 0) files["transformer/config.json"]["pos_embed_seq_len"] = pos_embed_seq_len;
  return files;
}

inline void write_checkpoint(const TempFolder& folder, const CheckpointFiles& files) {
  for (const auto& [name, content] : files) folder.write(name, content.dump());
}

inline card::Card card_of(const CheckpointFiles& files) {
  const TempFolder folder;
  write_checkpoint(folder, files);
  return card::read(folder.path());
}

}  // namespace nightreel::test

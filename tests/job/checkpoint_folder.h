// The JSON files of a checkpoint, written for one test: the published models' and changed ones.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "nightreel/base/json.h"
#include "support/temp_folder.h"

namespace nightreel::test {

/// File name -> content, as in a Diffusers folder.
using CheckpointFiles = std::map<std::string, base::Json>;

inline base::Json transformer_config(std::int64_t layers, std::int64_t heads, std::int64_t ffn, std::int64_t in,
                                     std::int64_t out) {
  return {{"_class_name", "WanTransformer3DModel"},
          {"added_kv_proj_dim", nullptr},
          {"attention_head_dim", 128},
          {"cross_attn_norm", true},
          {"eps", 1e-6},
          {"ffn_dim", ffn},
          {"freq_dim", 256},
          {"image_dim", nullptr},
          {"in_channels", in},
          {"num_attention_heads", heads},
          {"num_layers", layers},
          {"out_channels", out},
          {"patch_size", {1, 2, 2}},
          {"pos_embed_seq_len", nullptr},
          {"qk_norm", "rms_norm_across_heads"},
          {"rope_max_seq_len", 1024},
          {"text_dim", 4096}};
}

/// Wan2.1-T2V-1.3B as the hub has it.
inline CheckpointFiles small_t2v() {
  using base::Json;
  const auto entry = [](const char* library, const char* name) { return Json::array({library, name}); };
  return {
      {"model_index.json",
       {{"_class_name", "WanPipeline"},
        {"_diffusers_version", "0.33.0.dev0"},
        {"scheduler", entry("diffusers", "UniPCMultistepScheduler")},
        {"text_encoder", entry("transformers", "UMT5EncoderModel")},
        {"tokenizer", entry("transformers", "T5TokenizerFast")},
        {"transformer", entry("diffusers", "WanTransformer3DModel")},
        {"vae", entry("diffusers", "AutoencoderKLWan")}}},
      {"transformer/config.json", transformer_config(30, 12, 8960, 16, 16)},
      {"vae/config.json",
       {{"_class_name", "AutoencoderKLWan"},
        {"base_dim", 96},
        {"dim_mult", {1, 2, 4, 4}},
        {"temperal_downsample", {false, true, true}},
        {"z_dim", 16}}},
      {"text_encoder/config.json", {{"d_model", 4096}, {"num_layers", 24}}},
      {"scheduler/scheduler_config.json",
       {{"_class_name", "UniPCMultistepScheduler"},
        {"flow_shift", 3.0},
        {"prediction_type", "flow_prediction"},
        {"use_flow_sigmas", true}}},
  };
}

/// Wan2.2-T2V-A14B as diffusers' conversion writes it: flow_shift 3, not the published 12.
inline CheckpointFiles t2v_a14b() {
  CheckpointFiles files = small_t2v();
  files["model_index.json"]["transformer_2"] = {"diffusers", "WanTransformer3DModel"};
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
  files["model_index.json"]["image_encoder"] = {nullptr, nullptr};
  files["model_index.json"]["image_processor"] = {nullptr, nullptr};
  files["transformer/config.json"] = transformer_config(40, 40, 13824, 36, 16);
  files["transformer_2/config.json"] = files["transformer/config.json"];
  return files;
}

inline CheckpointFiles ti2v_5b() {
  CheckpointFiles files = small_t2v();
  files["model_index.json"]["transformer_2"] = {nullptr, nullptr};
  files["model_index.json"]["boundary_ratio"] = nullptr;
  files["model_index.json"]["expand_timesteps"] = true;
  files["transformer/config.json"] = transformer_config(30, 24, 14336, 48, 48);
  files["vae/config.json"]["z_dim"] = 48;
  files["vae/config.json"]["patch_size"] = 2;
  files["vae/config.json"]["scale_factor_spatial"] = 16;
  files["vae/config.json"]["scale_factor_temporal"] = 4;
  files["scheduler/scheduler_config.json"]["flow_shift"] = 5.0;
  return files;
}

inline CheckpointFiles wan21_14b(std::int64_t in_channels, std::int64_t pos_embed_seq_len) {
  CheckpointFiles files = small_t2v();
  files["transformer/config.json"] = transformer_config(40, 40, 13824, in_channels, 16);
  if (in_channels == 16) return files;
  files["model_index.json"]["_class_name"] = "WanImageToVideoPipeline";
  files["model_index.json"]["image_encoder"] = {"transformers", "CLIPVisionModel"};
  files["transformer/config.json"]["image_dim"] = 1280;
  files["transformer/config.json"]["added_kv_proj_dim"] = 5120;
  if (pos_embed_seq_len > 0) files["transformer/config.json"]["pos_embed_seq_len"] = pos_embed_seq_len;
  return files;
}

inline void write_checkpoint(const TempFolder& folder, const CheckpointFiles& files) {
  for (const auto& [name, content] : files) folder.write(name, content.dump());
}

}  // namespace nightreel::test

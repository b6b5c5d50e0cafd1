// transformer/config.json: what it may say, and what this version does not have.
#include "card/config_reader.h"
#include "nightreel/card/configs.h"

namespace nightreel::card {

using base::Json;

namespace {

/// diffusers makes each part where its own setting stands; Wan has both or neither.
void read_image_settings(ConfigReader& read, TransformerConfig& parsed) {
  parsed.image_dim = read.integer("image_dim", 0);
  parsed.added_kv_proj_dim = read.integer("added_kv_proj_dim", 0);
  parsed.pos_embed_seq_len = read.integer("pos_embed_seq_len", 0);
  if (parsed.added_kv_proj_dim != (parsed.image_dim > 0 ? parsed.width() : 0)) {
    read.refuse("added_kv_proj_dim", "must be the transformer's width where image_dim is given, else null");
  }
  if (parsed.pos_embed_seq_len > 0 && parsed.image_dim == 0) read.refuse("pos_embed_seq_len", "goes with image_dim");
}

void read_patch_size(ConfigReader& read, TransformerConfig& parsed) {
  const Json& patch = read.value("patch_size");
  if (patch.is_null()) return;
  if (!patch.is_array() || patch.size() != 3) read.refuse("patch_size", "three integers are needed");
  for (std::size_t i = 0; i < 3; ++i) parsed.patch_size.at(i) = read.check_integer("patch_size", patch[i], 1, 64);
}

}  // namespace

TransformerConfig parse_transformer_config(const Json& config, const std::string& path) {
  ConfigReader read(config, path);
  TransformerConfig parsed;
  read.require("_class_name", "WanTransformer3DModel", "only WanTransformer3DModel is");
  read.require("qk_norm", "rms_norm_across_heads", "only rms_norm_across_heads is");
  read_patch_size(read, parsed);
  parsed.num_attention_heads = read.integer("num_attention_heads", parsed.num_attention_heads, 1024);
  parsed.attention_head_dim = read.integer("attention_head_dim", parsed.attention_head_dim, 1024);
  parsed.in_channels = read.integer("in_channels", parsed.in_channels);
  // As diffusers: null means as many as go in, silence means 16.
  const std::int64_t out_channels = config.contains("out_channels") ? parsed.in_channels : parsed.out_channels;
  parsed.out_channels = read.integer("out_channels", out_channels);
  parsed.text_dim = read.integer("text_dim", parsed.text_dim);
  parsed.freq_dim = read.integer("freq_dim", parsed.freq_dim);
  parsed.ffn_dim = read.integer("ffn_dim", parsed.ffn_dim);
  parsed.num_layers = read.integer("num_layers", parsed.num_layers, 1000);
  parsed.rope_max_seq_len = read.integer("rope_max_seq_len", parsed.rope_max_seq_len);
  if (parsed.attention_head_dim % 2 != 0) read.refuse("attention_head_dim", "must be even");
  if (parsed.freq_dim % 2 != 0) read.refuse("freq_dim", "must be even");
  parsed.cross_attn_norm = read.boolean("cross_attn_norm", parsed.cross_attn_norm);
  parsed.eps = read.fraction("eps", parsed.eps);
  read_image_settings(read, parsed);
  read.refuse_unknown();
  return parsed;
}

Json to_json(const TransformerConfig& config) {
  const auto or_null = [](std::int64_t value) { return value > 0 ? Json(value) : Json(nullptr); };
  return {{"num_layers", config.num_layers},
          {"num_attention_heads", config.num_attention_heads},
          {"attention_head_dim", config.attention_head_dim},
          {"ffn_dim", config.ffn_dim},
          {"freq_dim", config.freq_dim},
          {"text_dim", config.text_dim},
          {"in_channels", config.in_channels},
          {"out_channels", config.out_channels},
          {"image_dim", or_null(config.image_dim)},
          {"added_kv_proj_dim", or_null(config.added_kv_proj_dim)},
          {"pos_embed_seq_len", or_null(config.pos_embed_seq_len)},
          {"rope_max_seq_len", config.rope_max_seq_len},
          {"cross_attn_norm", config.cross_attn_norm},
          {"eps", config.eps},
          {"patch_size", config.patch_size}};
}

}  // namespace nightreel::card

// transformer/config.json: what it may say, and what this version does not have.
#include "card/config_reader.h"
#include "nightreel/model/transformer.h"

namespace nightreel::model {

namespace {

/// diffusers makes each part where its own setting stands; Wan has both or neither.
void read_image_settings(ConfigReader& read, TransformerConfig& parsed) {
  const auto optional = [&](const char* key) { return read.value(key).is_null() ? 0 : read.integer(key, 0); };
  parsed.image_dim = optional("image_dim");
  parsed.added_kv_proj_dim = optional("added_kv_proj_dim");
  parsed.pos_embed_seq_len = optional("pos_embed_seq_len");
  if (parsed.added_kv_proj_dim != (parsed.image_dim > 0 ? parsed.width() : 0)) {
    read.refuse("added_kv_proj_dim", "must be the transformer's width where image_dim is given, else null");
  }
  if (parsed.pos_embed_seq_len > 0 && parsed.image_dim == 0) read.refuse("pos_embed_seq_len", "goes with image_dim");
}

}  // namespace

TransformerConfig parse_transformer_config(const nlohmann::json& config, const std::string& path) {
  ConfigReader read(config, path);
  TransformerConfig parsed;
  read.require("_class_name", "WanTransformer3DModel", "only WanTransformer3DModel is");
  read.require("qk_norm", "rms_norm_across_heads", "only rms_norm_across_heads is");
  if (const nlohmann::json patch = read.value("patch_size"); !patch.is_null()) {
    if (!patch.is_array() || patch.size() != 3) read.refuse("patch_size", "must be three whole numbers");
    for (std::size_t i = 0; i < 3; ++i) parsed.patch_size[i] = read.check_size("patch_size", patch[i], 64);
  }
  parsed.num_attention_heads = read.integer("num_attention_heads", parsed.num_attention_heads, 1024);
  parsed.attention_head_dim = read.integer("attention_head_dim", parsed.attention_head_dim, 1024);
  parsed.in_channels = read.integer("in_channels", parsed.in_channels);
  // As diffusers: null means as many as go in, silence means 16.
  parsed.out_channels = config.contains("out_channels") ? read.integer("out_channels", parsed.in_channels) : 16;
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

}  // namespace nightreel::model

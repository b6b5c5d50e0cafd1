// text_encoder/config.json: what it may say, and what this version does not have.
#include "card/housekeeping.h"
#include "nightreel/card/configs.h"

namespace nightreel::card {

Umt5Config parse_umt5_config(const base::Json& config, const std::string& path) {
  ConfigReader read(config, path);
  Umt5Config parsed;
  read.require("model_type", "umt5", "only umt5 is");
  read.require("feed_forward_proj", "gated-gelu", "only gated-gelu is");
  read.require("dense_act_fn", "gelu_new", "only gelu_new is");
  read.require("is_gated_act", true, "only true is");
  read.require("is_decoder", false, "only an encoder is");
  parsed.vocab_size = read.integer("vocab_size", parsed.vocab_size, 1 << 24);
  parsed.d_model = read.integer("d_model", parsed.d_model);
  parsed.d_kv = read.integer("d_kv", parsed.d_kv, 1 << 14);
  parsed.d_ff = read.integer("d_ff", parsed.d_ff);
  parsed.num_layers = read.integer("num_layers", parsed.num_layers, 1000);
  parsed.num_heads = read.integer("num_heads", parsed.num_heads, 1 << 14);
  parsed.relative_attention_num_buckets =
      read.integer("relative_attention_num_buckets", parsed.relative_attention_num_buckets);
  parsed.relative_attention_max_distance =
      read.integer("relative_attention_max_distance", parsed.relative_attention_max_distance);
  parsed.layer_norm_epsilon = read.fraction("layer_norm_epsilon", parsed.layer_norm_epsilon);
  if (parsed.relative_attention_num_buckets % 4 != 0) {
    read.refuse("relative_attention_num_buckets", "must be a multiple of 4");
  }
  if (parsed.relative_attention_max_distance <= parsed.relative_attention_num_buckets / 4) {
    read.refuse("relative_attention_max_distance", "must be more than a quarter of relative_attention_num_buckets");
  }
  // What training and decoding need.
  read.ignore({"classifier_dropout", "dropout_rate", "gradient_checkpointing", "initializer_factor", "n_positions",
               "num_decoder_layers", "output_past", "scalable_attention"});
  ignore_housekeeping(read);
  read.refuse_unknown();
  return parsed;
}

base::Json to_json(const Umt5Config& config) {
  return {{"vocab_size", config.vocab_size},
          {"d_model", config.d_model},
          {"d_kv", config.d_kv},
          {"d_ff", config.d_ff},
          {"num_layers", config.num_layers},
          {"num_heads", config.num_heads},
          {"relative_attention_num_buckets", config.relative_attention_num_buckets},
          {"relative_attention_max_distance", config.relative_attention_max_distance},
          {"layer_norm_epsilon", config.layer_norm_epsilon}};
}

}  // namespace nightreel::card

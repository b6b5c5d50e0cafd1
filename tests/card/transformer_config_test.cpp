#include "nightreel/card/configs.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "support/error.h"

using namespace nightreel;
using test::contains;
using test::error_of;
using Json = nlohmann::json;

TEST_CASE("a transformer's configuration is read, silence means diffusers' defaults") {
  const Json wan{{"_class_name", "WanTransformer3DModel"},
                 {"_diffusers_version", "0.33.0"},
                 {"patch_size", {1, 4, 2}},
                 {"num_attention_heads", 12},
                 {"attention_head_dim", 64},
                 {"in_channels", 36},
                 {"out_channels", nullptr},
                 {"cross_attn_norm", false},
                 {"eps", 1e-5},
                 {"image_dim", nullptr},
                 {"qk_norm", "rms_norm_across_heads"}};
  const card::TransformerConfig config = card::parse_transformer_config(wan, "c.json");
  CHECK(config.patch_size == std::array<std::int64_t, 3>{1, 4, 2});
  CHECK(config.width() == 768);
  CHECK(config.in_channels == 36);
  CHECK(config.out_channels == 36);
  CHECK_FALSE(config.cross_attn_norm);
  CHECK(config.eps == 1e-5);
  CHECK(config.num_layers == 40);
  CHECK(card::parse_transformer_config(Json::object(), "c.json").out_channels == 16);
}

TEST_CASE("a setting that this program does not have, or a value that makes no model, is an error that names it") {
  struct Case {
    const char* key;
    Json value;
  };
  for (const Case& c : {Case{"_class_name", "FluxTransformer2DModel"},
                        Case{"qk_norm", "layer_norm"},
                        Case{"image_dim", 1280},
                        Case{"added_kv_proj_dim", 5120},
                        Case{"pos_embed_seq_len", 514},
                        Case{"patch_size", {1, 2}},
                        Case{"patch_size", {1, 2, 0}},
                        Case{"patch_size", 2},
                        Case{"num_attention_heads", 0},
                        Case{"num_attention_heads", -3},
                        Case{"num_attention_heads", 2.5},
                        Case{"attention_head_dim", 15},
                        Case{"attention_head_dim", "64"},
                        Case{"freq_dim", 255},
                        Case{"num_layers", 1000000},
                        Case{"ffn_dim", 4294967296},
                        Case{"cross_attn_norm", 1},
                        Case{"eps", 0},
                        Case{"eps", "small"},
                        Case{"vace_layers", {0, 5}}}) {
    CAPTURE(c.key);
    const Json config{{c.key, c.value}};
    const std::string message =
        error_of(base::ErrorKind::model, [&] { card::parse_transformer_config(config, "dir/config.json"); });
    CHECK(contains(message, "dir/config.json: "));
    CHECK(contains(message, c.key));
  }
  CHECK(contains(error_of(base::ErrorKind::model, [] { card::parse_transformer_config(Json(3), "c.json"); }),
                 "not a JSON object"));
}

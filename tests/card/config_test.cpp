// What the configuration files of a checkpoint's parts may say.
#include "nightreel/card/configs.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "support/error.h"

using namespace nightreel;
using test::contains;
using test::refusal;
using Json = nlohmann::json;

namespace {

struct BadSetting {
  const char* key;
  Json value;
};

}  // namespace

TEST_CASE("a VAE's configuration is read, silence means Wan 2.1") {
  const card::VaeConfig wan = card::parse_vae_config(Json::object(), "c.json");
  CHECK(wan.base_dim == 96);
  CHECK(wan.latents_mean.size() == 16);
  CHECK(wan.scale_factor_spatial == 8);
  const Json small{{"_class_name", "AutoencoderKLWan"},
                   {"base_dim", 8},
                   {"decoder_base_dim", nullptr},
                   {"z_dim", 2},
                   {"dim_mult", {1, 2, 4}},
                   {"temperal_downsample", {true, true}},
                   {"scale_factor_spatial", 4},
                   {"latents_mean", {0.5, -0.5}},
                   {"latents_std", {1, 2}},
                   {"attn_scales", Json::array()},
                   {"dropout", 0.1}};
  const card::VaeConfig parsed = card::parse_vae_config(small, "c.json");
  CHECK(parsed.decoder_base_dim == 8);
  CHECK(parsed.dim_mult == std::vector<std::int64_t>{1, 2, 4});
  CHECK(parsed.temperal_downsample == std::vector<bool>{true, true});
  CHECK(parsed.latents_std == std::vector<double>{1, 2});
}

TEST_CASE("a VAE setting that this version does not have is an error that names file, setting and value") {
  for (const BadSetting& bad : {BadSetting{"_class_name", "AutoencoderKL"},
                                BadSetting{"is_residual", 1},
                                BadSetting{"in_channels", 12},
                                BadSetting{"out_channels", 12},
                                BadSetting{"patch_size", 0},
                                BadSetting{"attn_scales", {0.5}},
                                BadSetting{"base_dim", 0},
                                BadSetting{"base_dim", 1.5},
                                BadSetting{"z_dim", "16"},
                                BadSetting{"dim_mult", Json::array()},
                                BadSetting{"dim_mult", 4},
                                BadSetting{"dim_mult", {1, 2, -4, 4}},
                                BadSetting{"num_res_blocks", 1000},
                                BadSetting{"temperal_downsample", {false, true}},
                                BadSetting{"temperal_downsample", {true, true, true}},
                                BadSetting{"temperal_downsample", {0, 1, 1}},
                                BadSetting{"scale_factor_spatial", 16},
                                BadSetting{"latents_mean", {1.0}},
                                BadSetting{"latents_std", {"1"}},
                                BadSetting{"latents_std", std::vector<double>(16, 0.0)},
                                BadSetting{"vace_layers", 3}}) {
    CAPTURE(bad.key);
    const std::string message = refusal([&] {
      card::parse_vae_config(Json{{bad.key, bad.value}}, "dir/vae/config.json");
    });
    CAPTURE(message);
    CHECK(message.rfind("dir/vae/config.json: ", 0) == 0);
    CHECK(contains(message, bad.key));
  }
  CHECK(contains(refusal([] { card::parse_vae_config(Json(1), "c"); }), "not a JSON object"));
}

TEST_CASE("the configuration of the Wan 2.2 VAE is read, and what does not fit together is refused") {
  const Json published{{"is_residual", true},
                       {"base_dim", 160},
                       {"decoder_base_dim", 256},
                       {"z_dim", 48},
                       {"latents_mean", std::vector<double>(48, 0.1)},
                       {"latents_std", std::vector<double>(48, 1.5)},
                       {"in_channels", 12},
                       {"out_channels", 12},
                       {"patch_size", 2},
                       {"clip_output", false},
                       {"scale_factor_spatial", 16}};
  const card::VaeConfig parsed = card::parse_vae_config(published, "c.json");
  CHECK(parsed.is_residual);
  CHECK(parsed.cell_channels() == 12);
  CHECK(parsed.cells_a_latent() == 8);
  for (const BadSetting& bad :
       {BadSetting{"in_channels", 3}, BadSetting{"out_channels", 3}, BadSetting{"patch_size", 4},
        BadSetting{"scale_factor_spatial", 8}, BadSetting{"dim_mult", {1, 2, 4, 8}},
        BadSetting{"dim_mult", {1, 7, 4, 4}}, BadSetting{"dim_mult", {1, 2, 16, 16}}}) {
    CAPTURE(bad.value.dump());
    Json config = published;
    config[bad.key] = bad.value;
    CHECK(contains(refusal([&] { card::parse_vae_config(config, "c"); }), bad.key));
  }
}

TEST_CASE("a text encoder's configuration is read, as transformers 4 and 5 write it") {
  const Json published{{"_name_or_path", "google/umt5-xxl"},
                       {"architectures", {"UMT5EncoderModel"}},
                       {"classifier_dropout", 0.0},
                       {"d_ff", 10240},
                       {"d_kv", 64},
                       {"d_model", 4096},
                       {"decoder_start_token_id", 0},
                       {"dense_act_fn", "gelu_new"},
                       {"dropout_rate", 0.1},
                       {"eos_token_id", 1},
                       {"feed_forward_proj", "gated-gelu"},
                       {"initializer_factor", 1.0},
                       {"is_encoder_decoder", true},
                       {"is_gated_act", true},
                       {"layer_norm_epsilon", 1e-06},
                       {"model_type", "umt5"},
                       {"num_decoder_layers", 24},
                       {"num_heads", 64},
                       {"num_layers", 24},
                       {"output_past", true},
                       {"pad_token_id", 0},
                       {"relative_attention_max_distance", 128},
                       {"relative_attention_num_buckets", 32},
                       {"scalable_attention", true},
                       {"tie_word_embeddings", false},
                       {"tokenizer_class", "T5Tokenizer"},
                       {"torch_dtype", "bfloat16"},
                       {"transformers_version", "4.48.0.dev0"},
                       {"use_cache", true},
                       {"vocab_size", 256384}};
  const card::Umt5Config parsed = card::parse_umt5_config(published, "c.json");
  CHECK(parsed.vocab_size == 256384);
  CHECK(parsed.num_heads == 64);
  CHECK(card::parse_umt5_config(Json::object(), "c.json").d_model == 512);
}

TEST_CASE("a text encoder setting that this version does not have is an error that names it") {
  for (const BadSetting& bad :
       {BadSetting{"model_type", "t5"}, BadSetting{"feed_forward_proj", "relu"}, BadSetting{"dense_act_fn", "silu"},
        BadSetting{"is_gated_act", false}, BadSetting{"is_decoder", true}, BadSetting{"d_model", -1},
        BadSetting{"num_layers", 1e6}, BadSetting{"relative_attention_num_buckets", 30},
        BadSetting{"relative_attention_max_distance", 8}, BadSetting{"layer_norm_epsilon", 0},
        BadSetting{"layer_norm_epsilon", "1e-6"}, BadSetting{"rope_theta", 10000}}) {
    CAPTURE(bad.key);
    const std::string message = refusal([&] {
      card::parse_umt5_config(Json{{bad.key, bad.value}}, "dir/text_encoder/config.json");
    });
    CAPTURE(message);
    CHECK(message.rfind("dir/text_encoder/config.json: ", 0) == 0);
    CHECK(contains(message, bad.key));
  }
}

TEST_CASE("an image encoder's configuration is read, and what this version does not have is named") {
  const Json published{{"architectures", {"CLIPVisionModelWithProjection"}},
                       {"attention_dropout", 0.0},
                       {"dropout", 0.0},
                       {"hidden_act", "gelu"},
                       {"hidden_size", 1280},
                       {"image_size", 224},
                       {"initializer_factor", 1.0},
                       {"initializer_range", 0.02},
                       {"intermediate_size", 5120},
                       {"layer_norm_eps", 1e-05},
                       {"model_type", "clip_vision_model"},
                       {"num_attention_heads", 16},
                       {"num_channels", 3},
                       {"num_hidden_layers", 32},
                       {"patch_size", 14},
                       {"projection_dim", 1024},
                       {"torch_dtype", "bfloat16"},
                       {"transformers_version", "4.48.0.dev0"}};
  const card::ClipVisionConfig parsed = card::parse_clip_vision_config(published, "c.json");
  CHECK(parsed.tokens() == 257);
  CHECK_FALSE(parsed.quick_gelu);
  for (const BadSetting& bad :
       {BadSetting{"model_type", "siglip"}, BadSetting{"num_channels", 1}, BadSetting{"hidden_act", "relu"},
        BadSetting{"num_attention_heads", 7}, BadSetting{"patch_size", 1000}, BadSetting{"hidden_size", 0},
        BadSetting{"layer_norm_eps", 2}, BadSetting{"vision_config", Json{{"a", 1}}}}) {
    CAPTURE(bad.key);
    Json config = published;
    config[bad.key] = bad.value;
    const std::string message = refusal([&] { card::parse_clip_vision_config(config, "dir/config.json"); });
    CHECK(message.rfind("dir/config.json: ", 0) == 0);
    CHECK(contains(message, bad.key));
  }
}

TEST_CASE("how pictures are cut for the image encoder is read, and other ways are refused") {
  const Json published{{"crop_size", {{"height", 224}, {"width", 224}}},
                       {"do_center_crop", true},
                       {"do_convert_rgb", true},
                       {"do_normalize", true},
                       {"do_rescale", true},
                       {"do_resize", true},
                       {"image_mean", {0.5, 0.25, 0.125}},
                       {"image_std", {0.2, 0.3, 0.4}},
                       {"resample", 3},
                       {"size", {{"shortest_edge", 256}}}};
  const card::ClipPictureConfig parsed = card::parse_clip_picture_config(published, "p.json");
  CHECK(parsed.shortest_edge == 256);
  CHECK(parsed.crop == 224);
  CHECK(parsed.mean[1] == 0.25);
  CHECK(parsed.std[2] == 0.4);
  for (const BadSetting& bad :
       {BadSetting{"do_resize", false}, BadSetting{"resample", 1}, BadSetting{"size", 224},
        BadSetting{"size", Json{{"height", 224}, {"width", 224}}}, BadSetting{"size", Json{{"shortest_edge", 100}}},
        BadSetting{"crop_size", Json{{"height", 224}, {"width", 100}}}, BadSetting{"image_mean", {1, 2}},
        BadSetting{"image_std", {0.1, 0, 0.1}}, BadSetting{"image_std", "1"}}) {
    CAPTURE(bad.key);
    Json config = published;
    config[bad.key] = bad.value;
    const std::string message = refusal([&] { card::parse_clip_picture_config(config, "dir/p.json"); });
    CHECK(message.rfind("dir/p.json: ", 0) == 0);
    CHECK(contains(message, bad.key));
  }
}

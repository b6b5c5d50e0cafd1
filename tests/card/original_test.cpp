// Original Wan folders as Diffusers folders: the same card, the same recipe, and back again.
#include <doctest/doctest.h>

#include <functional>

#include "card/checkpoint_folder.h"
#include "nightreel/card/card.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/job/recipe.h"
#include "nightreel/settings/json.h"
#include "support/error.h"

namespace nightreel::card {
namespace {

using base::ErrorKind;
using base::Json;
using test::CheckpointFiles;
using test::contains;
using test::TempFolder;
using test::thrown_by;

/// As Wan's save_pretrained writes it.
Json wan_config(const std::string& type, int dim, int heads, int layers, int ffn, int in, int out) {
  return {{"_class_name", "WanModel"},
          {"_diffusers_version", "0.33.0"},
          {"dim", dim},
          {"eps", 1e-06},
          {"ffn_dim", ffn},
          {"freq_dim", 256},
          {"in_dim", in},
          {"model_type", type},
          {"num_heads", heads},
          {"num_layers", layers},
          {"out_dim", out},
          {"text_len", 512}};
}

/// The files of a published folder; the weights are empty, since nobody opens them here.
CheckpointFiles original_folder(const std::string& type, int experts, const Json& config) {
  CheckpointFiles files;
  if (experts == 2) {
    files["high_noise_model/config.json"] = config;
    files["low_noise_model/config.json"] = config;
  } else {
    files["config.json"] = config;
  }
  files[type == "ti2v" ? "Wan2.2_VAE.pth" : "Wan2.1_VAE.pth"] = "";
  files["models_t5_umt5-xxl-enc-bf16.pth"] = "";
  files["google/umt5-xxl/tokenizer_config.json"] = Json::object();
  if (experts == 1 && (type == "i2v" || type == "flf2v")) {
    files["models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"] = "";
  }
  return files;
}

struct Published {
  const char* type;
  int experts;
  Json config;
  CheckpointFiles diffusers;
  double flow_shift;
};

std::vector<Published> published() {
  return {
      {"t2v", 2, wan_config("t2v", 5120, 40, 40, 13824, 16, 16), test::t2v_a14b(), 12},
      {"i2v", 2, wan_config("i2v", 5120, 40, 40, 13824, 36, 16), test::i2v_a14b(), 5},
      {"ti2v", 1, wan_config("ti2v", 3072, 24, 30, 14336, 48, 48), test::ti2v_5b(), 5},
      {"t2v", 1, wan_config("t2v", 1536, 12, 30, 8960, 16, 16), test::small_t2v(), 5},
      {"t2v", 1, wan_config("t2v", 5120, 40, 40, 13824, 16, 16), test::wan21_14b(16, 0), 5},
      {"i2v", 1, wan_config("i2v", 5120, 40, 40, 13824, 36, 16), test::wan21_14b(36, 0), 5},
      {"flf2v", 1, wan_config("flf2v", 5120, 40, 40, 13824, 36, 16), test::wan21_14b(36, 514), 16},
  };
}

/// What must be the same whatever the layout.
Json essence(const Card& card) {
  Json json = to_json(card);
  for (const char* key : {"folder", "weight_bytes", "flow_shift", "layout"}) json.erase(key);
  json["image_encoder"] = card.has_image_encoder;
  return json;
}

TEST_CASE("a published original folder has the card and the recipe of its Diffusers folder, and Wan's own shift") {
  for (const Published& model : published()) {
    const TempFolder original;
    test::write_checkpoint(original, original_folder(model.type, model.experts, model.config));
    const TempFolder diffusers;
    test::write_checkpoint(diffusers, model.diffusers);
    const Card card = read(original.path());
    const Card expected = read(diffusers.path());
    CAPTURE(expected.published);
    CHECK(layout_of(original.path()) == Layout::original);
    CHECK(layout_of(diffusers.path()) == Layout::diffusers);
    CHECK_FALSE(card.published.empty());
    CHECK(essence(card) == essence(expected));
    CHECK(card.scheduler.flow_shift == model.flow_shift);
    CHECK(to_json(job::recipe_for(card, job::RecipeChoice::automatic).defaults) ==
          to_json(job::recipe_for(expected, job::RecipeChoice::automatic).defaults));
  }
}

TEST_CASE("the files of one layout say the same in the other's words, and back") {
  for (const Published& model : published()) {
    const TempFolder original;
    test::write_checkpoint(original, original_folder(model.type, model.experts, model.config));
    const TempFolder as_diffusers;
    for (const auto& [name, json] : config_files(original.path(), Layout::diffusers)) {
      as_diffusers.write(name, json.dump());
    }
    CHECK(essence(read(as_diffusers.path())) == essence(read(original.path())));
    CHECK(read(as_diffusers.path()).scheduler.flow_shift == model.flow_shift);  // not the converters' 3
    const auto back = config_files(as_diffusers.path(), Layout::original);
    const std::size_t only_experts = model.experts == 2 ? 2 : 1;
    CHECK(back.size() == only_experts);  // all else is as published, which Wan's code knows
    CHECK(back.begin()->second.dump() == model.config.dump());
  }
}

TEST_CASE("a part whose dimensions are not the published ones says so in a file of its own") {
  const TempFolder folder;
  CheckpointFiles files = original_folder("t2v", 1, wan_config("t2v", 48, 4, 2, 64, 4, 4));
  files["config.json"]["text_dim"] = 24;
  files["vae/config.json"] = test::small_t2v()["vae/config.json"];
  test::set_z_dim(files["vae/config.json"], 4);
  files["text_encoder/config.json"] = Json{{"d_model", 24}};
  test::write_checkpoint(folder, files);
  const Card card = read(folder.path());
  CHECK(card.vae.z_dim == 4);
  CHECK(card.transformer().text_dim == 24);
  CHECK(card.transformer().attention_head_dim == 12);
  const auto same = config_files(folder.path(), Layout::original);
  CHECK(same.at("config.json") == files["config.json"]);
  CHECK(same.at("vae/config.json") == files["vae/config.json"]);
}

TEST_CASE("an original folder that Wan's code would not know is refused by name") {
  struct Case {
    const char* why;
    std::function<void(CheckpointFiles&)> spoil;
  };
  const std::vector<Case> cases{
      {"model_type: vace is not supported", [](auto& f) { f["high_noise_model/config.json"]["model_type"] = "vace"; }},
      {"model_type: is not that of the other", [](auto& f) { f["low_noise_model/config.json"]["model_type"] = "i2v"; }},
      {"has no low_noise_model/", [](auto& f) { f.erase("low_noise_model/config.json"); }},
      {"does not go with two experts",
       [](auto& f) {
         for (const char* e : {"high", "low"}) f[std::string(e) + "_noise_model/config.json"]["model_type"] = "flf2v";
       }},
      {"audio_window: this program does not know",
       [](auto& f) { f["high_noise_model/config.json"]["audio_window"] = 5; }},
      {"text_len: only 512", [](auto& f) { f["low_noise_model/config.json"]["text_len"] = 256; }},
      {"num_heads: does not divide dim", [](auto& f) { f["high_noise_model/config.json"]["num_heads"] = 7; }},
      {"has both Wan2.1_VAE.pth and Wan2.1_VAE.safetensors", [](auto& f) { f["Wan2.1_VAE.safetensors"] = ""; }},
      {"has no models_t5_umt5-xxl-enc-bf16.pth", [](auto& f) { f.erase("models_t5_umt5-xxl-enc-bf16.pth"); }},
      {"high_noise_model/config.json", [](auto& f) { f["high_noise_model/config.json"]["dim"] = "wide"; }},
  };
  for (const Case& c : cases) {
    CheckpointFiles files = original_folder("t2v", 2, wan_config("t2v", 5120, 40, 40, 13824, 16, 16));
    c.spoil(files);
    const TempFolder folder;
    test::write_checkpoint(folder, files);
    const auto error = thrown_by([&] { read(folder.path()); });
    CHECK(error.kind == ErrorKind::model);
    CHECK_MESSAGE(contains(error.message, c.why), error.message);
  }
}

TEST_CASE("what Wan's code has no words for cannot be written in the original layout") {
  const auto refusal = [](CheckpointFiles files) {
    const TempFolder folder;
    test::write_checkpoint(folder, files);
    return thrown_by([&] { config_files(folder.path(), Layout::original); }).message;
  };
  CheckpointFiles files = test::t2v_a14b();
  files["model_index.json"]["boundary_ratio"] = 0.5;
  CHECK(contains(refusal(files), "boundary_ratio 0.5"));
  files = test::t2v_a14b();
  files["model_index.json"]["transformer"] = test::no_component();
  CHECK(contains(refusal(files), "low-noise expert alone"));
  files = test::i2v_a14b();
  files["model_index.json"]["transformer_2"] = test::no_component();
  CHECK(contains(refusal(files), "without an image encoder"));
}

}  // namespace
}  // namespace nightreel::card

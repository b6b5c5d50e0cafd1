// Half a download: whichever files of a checkpoint are missing, it is described or refused by name, in either layout.
#include <doctest/doctest.h>

#include "card/checkpoint_folder.h"
#include "nightreel/base/error.h"
#include "nightreel/card/card.h"
#include "nightreel/card/checkpoint.h"
#include "support/temp_folder.h"

namespace nightreel::card {
namespace {

/// What every command does first with a checkpoint's folder. Whether it went through; else a base::Error{model} came.
bool described(const std::string& folder) {
  try {
    layout_of(folder);
    const Card card = read(folder);
    check_supported(card);
    for (const std::string& component : components_of(folder)) {
      checkpoint_json(folder + "/" + component + "/config.json");
      if (is_original_component(folder + "/" + component)) original_weights(folder + "/" + component);
    }
    return true;
  } catch (const base::Error& e) {
    CHECK(e.kind() == base::ErrorKind::model);
    CHECK_MESSAGE(std::string(e.what()).find(folder) != std::string::npos, e.what());
    return false;
  }
}

/// Every set of the files but the empty one, which leaves no folder. How many were described.
int subsets_described(const test::CheckpointFiles& files) {
  int right = 0;
  for (unsigned kept = 1; kept < 1U << files.size(); ++kept) {
    test::CheckpointFiles some;
    unsigned bit = 1;
    for (const auto& [name, content] : files) {
      if ((kept & bit) != 0) some[name] = content;
      bit <<= 1U;
    }
    const test::TempFolder folder;
    test::write_checkpoint(folder, some);
    CAPTURE(kept);
    right += described(folder.path()) ? 1 : 0;
  }
  return right;
}

test::CheckpointFiles original_t2v() {
  const base::Json expert{{"_class_name", "WanModel"}, {"dim", 5120},     {"ffn_dim", 13824}, {"in_dim", 16},
                          {"model_type", "t2v"},       {"num_heads", 40}, {"num_layers", 40}, {"out_dim", 16}};
  return {{"high_noise_model/config.json", expert},
          {"low_noise_model/config.json", expert},
          {"Wan2.1_VAE.pth", ""},
          {"models_t5_umt5-xxl-enc-bf16.pth", ""},
          {"google/umt5-xxl/tokenizer_config.json", base::Json::object()}};
}

}  // namespace

TEST_CASE("a Diffusers folder that lacks files is described or refused by name") {
  test::CheckpointFiles files = test::t2v_a14b();
  CHECK(files.size() == 6);
  CHECK(subsets_described(files) == 1);
}

TEST_CASE("an original folder that lacks files is described or refused by name") {
  CHECK(subsets_described(original_t2v()) == 2);  // the tokenizer's own file is looked for by whoever reads prompts
}

TEST_CASE("an expert's folder whose config.json is a link to nothing is refused by that file's name") {
  const test::TempFolder folder;
  test::write_checkpoint(folder, original_t2v());
  const std::string config = folder / "low_noise_model/config.json";
  std::filesystem::remove(config);
  std::filesystem::create_symlink("../../blobs/none", config);
  try {
    read(folder.path());
    FAIL("was read");
  } catch (const base::Error& e) {
    CHECK(e.kind() == base::ErrorKind::model);
    CHECK_MESSAGE(std::string(e.what()).find(config + ": is a link to ../../blobs/none") != std::string::npos,
                  e.what());
  }
}

TEST_CASE("whichever file of a hub's cache is a link to nothing is named, with what to do") {
  test::CheckpointFiles files = test::t2v_a14b();
  files["nightreel.json"] = base::Json::object();
  for (const auto& [name, content] : files) {
    CAPTURE(name);
    const test::TempFolder folder;
    test::write_checkpoint(folder, files);
    CHECK_NOTHROW(read(folder.path()));
    std::filesystem::remove(folder / name);
    std::filesystem::create_symlink("../../blobs/none", folder / name);
    try {
      read(folder.path());
      FAIL("was read");
    } catch (const base::Error& e) {
      CHECK(e.kind() == base::ErrorKind::model);
      CHECK_MESSAGE(std::string(e.what()).find(name + ": is a link to ../../blobs/none") != std::string::npos,
                    e.what());
      CHECK(std::string(e.what()).find("download the model again") != std::string::npos);
    }
  }
}

}  // namespace nightreel::card

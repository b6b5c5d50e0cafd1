// The config files that diffusers' Wan pipelines write (make_configs.py): read to the values that diffusers holds, or
// refused by the name of the class that they are of.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "card/foreign_fields.h"
#include "nightreel/base/file.h"
#include "nightreel/card/card.h"
#include "support/error.h"

namespace nightreel::card {
namespace {

namespace fs = std::filesystem;
using base::Json;
using test::contains;

std::string configs(const std::string& path) {
  const char* binary = std::getenv("NIGHTREEL_BINARY_DIR");
  REQUIRE(binary != nullptr);
  return std::string(binary) + "/diffusers_configs/" + path;
}

std::vector<fs::path> folders(const std::string& path) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(configs(path))) found.push_back(entry.path());
  return found;
}

/// Every field of `ours` has the value that diffusers has; of its None, what its code makes of that.
void check_held(const Json& ours, const Json& held) {
  for (const auto& [field, value] : ours.items()) {
    CAPTURE(field);
    Json wanted = held.value(field, Json());
    if (field == "decoder_base_dim" && wanted.is_null()) wanted = ours.at("base_dim");
    if (field == "patch_size" && wanted.is_null()) wanted = 1;
    CHECK_MESSAGE(value == wanted, value.dump() << " instead of " << wanted.dump());
  }
}

TEST_CASE("the folders of the pipelines that we make are read to what diffusers holds") {
  const std::map<std::string, ModelKind> kinds{{"t2v", ModelKind::t2v},     {"two_experts", ModelKind::t2v},
                                               {"ti2v", ModelKind::ti2v},   {"i2v", ModelKind::i2v},
                                               {"flf2v", ModelKind::flf2v}, {"i2v_latents_alone", ModelKind::i2v}};
  CHECK(folders("made").size() == kinds.size());
  for (const auto& [name, kind] : kinds) {
    CAPTURE(name);
    const Card card = read(configs("made/" + name));
    const Json held = base::read_json(configs("made/" + name + "/expected.json"));
    CHECK((card.kind == kind));
    for (std::size_t i = 0; i < card.experts.size(); ++i)
      check_held(to_json(card.transformers[i]), held.at(card.experts[i]));
    check_held(to_json(card.vae), held.at("vae"));
    check_held(to_json(card.text_encoder), held.at("text_encoder"));
    CHECK(card.image_encoder.has_value() == held.contains("image_encoder"));
    if (card.image_encoder) check_held(to_json(*card.image_encoder), held.at("image_encoder"));
    const Json& scheduler = held.at("scheduler");
    CHECK(card.scheduler.flow_shift == scheduler.at(card.scheduler.sampler == "euler" ? "shift" : "flow_shift"));
    CHECK(card.scheduler.num_train_timesteps == scheduler.at("num_train_timesteps"));
    CHECK_NOTHROW(check_supported(card));
  }
  CHECK(read(configs("made/two_experts")).scheduler.sampler == "dpm++");
  CHECK(read(configs("made/ti2v")).scheduler.sampler == "euler");
}

TEST_CASE("the folders of the pipelines and models that we do not make are refused by their name") {
  CHECK(folders("refused").size() >= 3 + 2 * 5);
  for (const fs::path& folder : folders("refused")) {
    CAPTURE(folder.filename().string());
    const auto error = test::thrown_by([&] { read(folder.string()); });
    CHECK(error.kind == base::ErrorKind::model);
    CHECK_MESSAGE(contains(error.message, base::read_file((folder / "says.txt").string(), 100)), error.message);
  }
}

TEST_CASE("every field that a model near Wan's has and Wan's own lacks is known by a class that has it") {
  const Json foreign = base::read_json(configs("foreign.json"));
  std::size_t fields = 0;
  for (const auto& [name, list] : foreign.items()) {
    for (const Json& field : list) {
      CAPTURE(field.dump());
      const std::string owner = class_with_field(field.get<std::string>());
      REQUIRE(foreign.contains(owner));
      const Json& of_owner = foreign.at(owner);
      CHECK(std::find(of_owner.begin(), of_owner.end(), field) != of_owner.end());
      fields += 1;
    }
  }
  CHECK(fields >= 20);
}

}  // namespace
}  // namespace nightreel::card

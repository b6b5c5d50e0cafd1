// What a checkpoint's nightreel.json states.
#include <doctest/doctest.h>

#include "card/checkpoint_folder.h"
#include "support/error.h"

namespace nightreel::card {
namespace {

using base::ErrorKind;
using test::card_of;
using test::contains;
using test::thrown_by;

TEST_CASE("what nightreel.json states is read, and what is no setting of the model is refused by file and field") {
  struct Case {
    const char* field;
    const char* value;  // JSON
    const char* message;
  };
  for (const auto& c : {
           Case{"heigth", "480", "heigth: unknown field; did you mean height?"},
           Case{"flow_shift", "3", "flow_shift: unknown field"},
           Case{"prompt", R"("a")", "prompt: unknown field"},
           Case{"height", "48.5", "height: an integer is needed, not 48.5"},
           Case{"guidance_scale_2", "3", "guidance_scale_2: this model has one expert"},
       }) {
    test::CheckpointFiles files = test::small_t2v();
    files["nightreel.json"][c.field] = base::parse_json(c.value);
    const auto error = thrown_by([&] { card_of(files); });
    CHECK(error.kind == ErrorKind::model);
    CHECK_MESSAGE(contains(error.message, std::string("nightreel.json: ") + c.message), error.message);
  }
  test::CheckpointFiles files = test::t2v_a14b();
  CHECK(card_of(files).stated.names.empty());
  files["nightreel.json"] = base::parse_json(R"({"height": 64, "guidance_scale_2": 3})");
  const settings::Stated stated = card_of(files).stated;
  CHECK(stated.height == 64);
  CHECK(stated.guidance_scale_2 == 3);
  CHECK_FALSE(stated.states("width"));
}

TEST_CASE("a nightreel.json that is no object is refused") {
  test::CheckpointFiles files = test::small_t2v();
  files["nightreel.json"] = base::parse_json("[480]");
  const auto error = thrown_by([&] { card_of(files); });
  CHECK(error.kind == ErrorKind::model);
  CHECK_MESSAGE(contains(error.message, "nightreel.json: not a JSON object"), error.message);
}

}  // namespace
}  // namespace nightreel::card

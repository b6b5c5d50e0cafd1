#include "nightreel/job/stated.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "card/checkpoint_folder.h"
#include "nightreel/job/resolve.h"
#include "support/error.h"

namespace nightreel::job {
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
    const card::Card card = card_of(files);
    for (const auto choice : {RecipeChoice::automatic, RecipeChoice::official, RecipeChoice::checkpoint}) {
      const auto error = thrown_by([&] { recipe_for(card, choice); });
      CHECK(error.kind == ErrorKind::model);
      CHECK_MESSAGE(contains(error.message, std::string("nightreel.json: ") + c.message), error.message);
    }
  }
  test::CheckpointFiles files = test::t2v_a14b();
  files["nightreel.json"] = base::parse_json(R"({"height": 64, "guidance_scale_2": 3})");
  const Overrides stated = stated_by(card_of(files));
  CHECK(stated.height == 64);
  CHECK(stated.guidance_scale_2 == 3);
  CHECK_FALSE(stated.width);
}

std::string repository(const std::string& path) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return std::string(source) + "/" + path;
}

TEST_CASE("what models/shapes-i2v makes begins with a picture") {
  const card::Card card = card::read(repository("models/shapes-i2v"));
  const Recipe recipe = recipe_for(card, RecipeChoice::automatic);
  const auto error = thrown_by([&] { resolve(parse_job(R"({"prompt": "p"})", {}), card, recipe); });
  CHECK(error.kind == ErrorKind::job);
  CHECK_MESSAGE(contains(error.message, "image: "), error.message);
  const std::string picture = repository("jobs/pictures/shapes/red_circle.png");
  const base::Json with_picture{{"prompt", "p"}, {"image", picture}};
  CHECK(resolve(parse_job(with_picture.dump(), {}), card, recipe).image == picture);
}

}  // namespace
}  // namespace nightreel::job

// Each row reads what a job says, writes it to JSON and back, and names what is wrong.
#include "nightreel/settings/row.h"

#include <doctest/doctest.h>

#include <set>

#include "nightreel/settings/json.h"
#include "nightreel/settings/stated.h"
#include "settings/examples.h"
#include "support/error.h"

namespace nightreel::settings {
namespace {

using base::ErrorKind;
using base::Json;
using test::thrown_by;

Stated stated(const std::string& field, const Json& value) {
  Json job{{"prompt", "p"}};
  job[field] = value;
  return read_stated(job, Source::job);
}

std::string refusal(const std::string& field, const Json& value) {
  const auto error = thrown_by([&] { stated(field, value); });
  CHECK(error.kind == ErrorKind::job);
  return error.message;
}

TEST_CASE("no name and no alias stands twice, and every row says what it is") {
  std::set<std::string_view> names;
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    for (const auto alias : aliases_of(row)) CHECK(names.insert(alias).second);
    CHECK_FALSE(row.help.empty());
    CHECK((row.help.back() != '.'));
    CHECK((row.fallback.empty() == (row.name == "prompt")));
    CHECK(find_row(row.name) == &row);
  }
  CHECK(rows().size() >= 23);
  CHECK(find_row("sample_shift") == &row("flow_shift"));
  CHECK(find_row("") == nullptr);
  CHECK(thrown_by([] { row("sample_shift"); }).kind == ErrorKind::internal);
}

TEST_CASE("there is an example of every row, and it is what a job may say") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    REQUIRE(test::kExamples.count(row.name) == 1);
    CHECK(stated(std::string(row.name), test::example(row)).states(row.name));
  }
}

TEST_CASE("what a job states goes over the recipe, and into JSON and back") {
  for (const Row& row : rows()) {
    if (row.group == Group::queue) continue;
    CAPTURE(row.name);
    Settings settings;
    overlay(stated(std::string(row.name), test::example(row)), settings);
    const Json json = to_json(settings);
    CHECK(json.at(std::string(row.name)) == test::example(row));
    CHECK(to_json(settings_from_json(json)) == json);
    Json untouched = json;
    if (row.name != "prompt") untouched["prompt"] = "";
    untouched[std::string(row.name)] = to_json(Settings()).at(std::string(row.name));
    CHECK(untouched == to_json(Settings()));
  }
}

TEST_CASE("nothing of the queue reaches a renderer") {
  const Json json = to_json(Settings());
  for (const Row& row : rows()) CHECK(json.contains(std::string(row.name)) == (row.group != Group::queue));
}

TEST_CASE("a value of another type is refused with the field's name") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    for (const Json& value : {Json(nullptr), Json(true), Json::object()}) {
      CHECK(refusal(std::string(row.name), value).rfind(std::string(row.name) + ": ", 0) == 0);
    }
  }
}

TEST_CASE("a bound is the last value that may be, and it is named") {
  for (const Row& row : rows()) {
    if (!test::example(row).is_number()) continue;
    CAPTURE(row.name);
    const std::string field(row.name);
    CHECK_NOTHROW(stated(field, row.high));
    CHECK((row.above ? refusal(field, row.low) : (stated(field, row.low), std::string("out of range")))
              .find("out of range") != std::string::npos);
    const std::string bounds = std::to_string(row.low) + " to " + std::to_string(row.high);
    CHECK(test::contains(refusal(field, row.low - 1), bounds));
    if (row.high < INT64_MAX) CHECK(test::contains(refusal(field, row.high + 1), bounds));
  }
}

TEST_CASE("codec and crf have the bounds that the encoder has") {
  CHECK(refusal("codec", "av1") == "codec: 'av1' is none of h264, hevc");
  CHECK(refusal("crf", 52) == "crf: 52 is out of range: 0 to 51");
  CHECK(refusal("crf", 18.5) == "crf: an integer is needed, not 18.5");
}

TEST_CASE("a field that there is none of is refused with the nearest, also where another program calls it so") {
  CHECK(refusal("codecs", 1) == "codecs: unknown field; did you mean codec?");
  CHECK(refusal("size", 1) == "size: unknown field; did you mean width and height?");
  int aliases = 0;
  for (const Row& row : rows()) {
    for (const auto alias : aliases_of(row)) {
      CHECK(refusal(std::string(alias), 1) ==
            std::string(alias) + ": unknown field; did you mean " + std::string(row.name) + "?");
      ++aliases;
    }
  }
  CHECK(aliases >= 15);
}

TEST_CASE("a checkpoint states what it is meant to be used with, and nothing of the job, the file or the queue") {
  const auto of_checkpoint = [](const std::string& field, const Json& value) {
    read_stated({{field, value}}, Source::checkpoint);
  };
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    const std::string field(row.name);
    if (row.in_checkpoint) {
      CHECK_NOTHROW(of_checkpoint(field, test::example(row)));
    } else {
      CHECK(test::contains(thrown_by([&] { of_checkpoint(field, test::example(row)); }).message,
                           field + ": unknown field; "));
    }
  }
  CHECK_FALSE(row("crf").in_checkpoint);
  CHECK_FALSE(row("seed").in_checkpoint);
}

TEST_CASE("JSON of before a setting means what held then; of the others none may be missing") {
  const Json json = to_json(Settings());
  for (const Row& row : rows()) {
    if (row.group == Group::queue) continue;
    CAPTURE(row.name);
    Json older = json;
    older.erase(std::string(row.name));
    if (row.neutral.empty()) {
      CHECK(thrown_by([&] { settings_from_json(older); }).kind == ErrorKind::internal);
    } else {
      CHECK(to_json(settings_from_json(older)) == json);
    }
  }
}

}  // namespace
}  // namespace nightreel::settings

#include "nightreel/base/json.h"

#include <doctest/doctest.h>

#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::base {
namespace {

using test::contains;
using test::thrown_by;

TEST_CASE("JSON is parsed as it stands") {
  CHECK(parse_json(R"({"a": [1, 2.5, null, true, "é\n"]})").dump() == R"({"a":[1,2.5,null,true,"é\n"]})");
  CHECK(parse_json(" 7 ") == 7);
  CHECK(parse_json("18446744073709551615").get<std::uint64_t>() == 18446744073709551615U);
  CHECK(parse_json(R"({"a": {"x": 1}, "b": {"x": 2}, "c": [{"x": 3}, {"x": 4}]})").size() == 3);
}

TEST_CASE("what a lenient parser lets through is refused") {
  struct Case {
    std::string text;
    const char* message;
  };
  for (const auto& c : {
           Case{R"({"a": 1, "a": 2})", "a: the key stands twice"},
           Case{R"({"x": {"a": 1, "b": 2, "a": 1}})", "a: the key stands twice"},
           Case{R"([{"a": 1}, {"b": 1, "b": 1}])", "b: the key stands twice"},
           Case{R"({"a": 1, "\u0061": 2})", "a: the key stands twice"},
           Case{"{} {}", "column 4"},
           Case{"", "unexpected end of input"},
           Case{"{\"a\": \"\xff\"}", "invalid string"},
           Case{"\"\xed\xa0\x80\"", "invalid string"},  // a surrogate in UTF-8
           Case{"\"\xc0\xaf\"", "invalid string"},      // an overlong slash
           Case{"1e400", "number overflow"},
           Case{"NaN", "syntax error"},
           Case{"[1,]", "syntax error"},
           Case{"{'a': 1}", "syntax error"},
           Case{"01", "syntax error"},
           Case{"/* */ 1", "syntax error"},
           Case{std::string(65, '[') + std::string(65, ']'), "nested deeper than 64 levels"},
           Case{std::string(1000000, '['), "nested deeper than 64 levels"},
       }) {
    const auto error = thrown_by([&] { parse_json(c.text); });
    CHECK(error.kind == ErrorKind::usage);
    CHECK_MESSAGE(contains(error.message, c.message), error.message);
    CHECK_FALSE(contains(error.message, "\n"));
  }
  CHECK_NOTHROW(parse_json(std::string(64, '[') + std::string(64, ']')));
}

TEST_CASE("a file's errors begin with its path") {
  test::TempFolder folder;
  CHECK(read_json(folder.write("a.json", "{\"a\": 1}")) == parse_json("{\"a\": 1}"));
  for (const auto& path : {folder.write("bad.json", "{"), folder / "missing.json", folder.path()}) {
    const auto error = thrown_by([&] { read_json(path); });
    CHECK(error.kind == ErrorKind::model);
    CHECK(contains(error.message, path));
  }
  CHECK(contains(thrown_by([&] { read_json(folder.write("b.json", std::string(100, ' ')), 99); }).message,
                 "larger than 99 bytes"));
}

}  // namespace
}  // namespace nightreel::base

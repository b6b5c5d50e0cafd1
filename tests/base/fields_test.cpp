#include "nightreel/base/fields.h"

#include <doctest/doctest.h>

#include "support/error.h"

namespace nightreel::base {
namespace {

using test::thrown_by;

template <typename Read>
std::string refusal(const Read& read) {
  const auto error = thrown_by(read);
  CHECK(error.kind == ErrorKind::job);
  return error.message;
}

TEST_CASE("a value is read by its type and bounds, and the reason names both") {
  CHECK(read_integer(480, 1, 16384) == 480);
  CHECK(read_number(0.5, 0, 1) == 0.5);
  CHECK(read_number(1, 0, 1) == 1.0);
  CHECK(read_text("abc", 3) == "abc");
  CHECK(read_choice("b", {"a", "b"}) == "b");
  CHECK(read_array(Json::array({1, 2}), 2).size() == 2);
  CHECK(refusal([] { read_integer(480.0, 1, 16384); }) == "an integer is needed, not 480.0");
  CHECK(refusal([] { read_integer(0, 1, 16384); }) == "0 is out of range: 1 to 16384");
  CHECK(refusal([] { read_integer(18446744073709551615U, 0, INT64_MAX); }) ==
        "18446744073709551615 is out of range: 0 to 9223372036854775807");
  CHECK(refusal([] { read_number("1", 0, 1); }) == "a number is needed, not \"1\"");
  CHECK(refusal([] { read_number(0, 0, 240, Low::exclusive); }) == "0 is out of range: above 0 to 240");
  CHECK(refusal([] { read_text("abcd", 3); }) == "is 4 bytes long, at most 3 are allowed");
  CHECK(refusal([] { read_choice("c", {"a", "b"}); }) == "'c' is none of a, b");
  CHECK(refusal([] { read_array(Json::array({1, 2}), 1); }) == "has 2 entries, at most 1 are allowed");
  CHECK(refusal([] { read_array(1, 1); }) == "a list is needed, not 1");
}

TEST_CASE("the field's name is put in front, one after the other") {
  CHECK(at_field("a", [] { return 7; }) == 7);
  CHECK(refusal([] { at_field("a", [] { at_field("[1]", [] { refuse("is none"); }); }); }) == "a: [1]: is none");
}

TEST_CASE("a member that is not known is refused with the nearest that is, or with what it is called here") {
  const std::vector<std::string> known{"height", "width"};
  CHECK_NOTHROW(refuse_unknown({{"height", 1}}, known));
  CHECK(refusal([&] { refuse_unknown({{"hight", 1}}, known); }) == "hight: unknown field; did you mean height?");
  CHECK(refusal([&] {
          refuse_unknown({{"depth_of_it", 1}}, known);
        }) == "depth_of_it: unknown field; known are height, width");
  CHECK(refusal([&] {
          refuse_unknown({{"rows", 1}}, known, {{"rows", "height"}});
        }) == "rows: unknown field; did you mean height?");
}

TEST_CASE("numbers are written as people write them, and come back the same") {
  CHECK(number_text(5) == "5");
  CHECK(number_text(0.875) == "0.875");
  CHECK(std::stod(number_text(1.0 / 3)) == 1.0 / 3);
}

}  // namespace
}  // namespace nightreel::base

#include "nightreel/base/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace nightreel::base {
namespace {

constexpr std::size_t kLongestChoice = 64U << 10U;  // bytes

std::string shown(const Json& value) {
  return printable(dump_json(value), 60);
}

std::string suggestion(const std::string& name, const std::vector<std::string>& known, const OtherNames& others) {
  const auto other = std::find_if(others.begin(), others.end(), [&](const auto& n) { return n.first == name; });
  const std::string near = other != others.end() ? std::string(other->second) : nearest(name, known);
  return near.empty() ? "known are " + fmt::format("{}", fmt::join(known, ", ")) : "did you mean " + near + "?";
}

}  // namespace

void refuse(const std::string& reason) {
  throw Error(ErrorKind::job, reason);
}

void refuse(std::string_view field, const std::string& reason) {
  refuse(printable(field, 80) + ": " + reason);
}

std::string number_text(double value) {
  return fmt::format("{}", value);
}

std::int64_t read_integer(const Json& value, std::int64_t low, std::int64_t high) {
  if (!value.is_number_integer()) refuse("an integer is needed, not " + shown(value));
  const bool beyond = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (beyond || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
    refuse(fmt::format("{} is out of range: {} to {}", shown(value), low, high));
  }
  return value.get<std::int64_t>();
}

double read_number(const Json& value, double low, double high, Low kind) {
  if (!value.is_number()) refuse("a number is needed, not " + shown(value));
  const double number = value.get<double>();
  const bool above = kind == Low::inclusive ? number >= low : number > low;
  if (!std::isfinite(number) || !above || number > high) {
    refuse(
        fmt::format("{} is out of range: {}{} to {}", shown(value), kind == Low::exclusive ? "above " : "", low, high));
  }
  return number;
}

std::string read_text(const Json& value, std::size_t limit) {
  if (!value.is_string()) refuse("text in quotes is needed, not " + shown(value));
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > limit) refuse(fmt::format("is {} bytes long, at most {} are allowed", text.size(), limit));
  return text;
}

std::string read_choice(const Json& value, const std::vector<std::string_view>& choices) {
  std::string text = read_text(value, kLongestChoice);
  if (std::count(choices.begin(), choices.end(), text) == 0) {
    refuse(fmt::format("'{}' is none of {}", printable(text, 60), fmt::join(choices, ", ")));
  }
  return text;
}

const Json& read_array(const Json& value, std::size_t limit) {
  if (!value.is_array()) refuse("a list is needed, not " + shown(value));
  if (value.size() > limit) refuse(fmt::format("has {} entries, at most {} are allowed", value.size(), limit));
  return value;
}

void refuse_unknown(const Json& object, const std::vector<std::string>& known, const OtherNames& others) {
  for (const auto& [name, value] : object.items()) {
    if (std::count(known.begin(), known.end(), name) == 0) {
      refuse(name, "unknown field; " + suggestion(name, known, others));
    }
  }
}

}  // namespace nightreel::base

#include "nightreel/settings/flags.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "nightreel/base/error.h"
#include "nightreel/base/fields.h"
#include "settings/text.h"
#include "settings/value.h"

namespace nightreel::settings {
namespace {

using base::Error;
using base::ErrorKind;

[[noreturn]] void refuse_flag(const std::string& flag, const std::string& text, const std::string& why) {
  throw Error(ErrorKind::usage, "--" + flag + ": '" + base::printable(text, 60) + "' " + why);
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, trouble] = std::from_chars(text.data(), text.data() + text.size(), number);
  return trouble == std::errc() && end == text.data() + text.size();
}

bool holds_levels(const Row& row) {
  return std::holds_alternative<std::vector<double> Fields::*>(row.member);
}

Json whole_of(const Row& row, const std::string& text) {
  std::int64_t number = 0;
  if (!parse(text, number)) refuse_flag(flag_name(row.name), text, "is no whole number");
  return number;
}

Json number_of(const Row& row, std::string_view text) {
  double number = 0;
  if (!parse(text, number) || !std::isfinite(number)) {
    refuse_flag(flag_name(row.name), std::string(text), "is no number");
  }
  return number;
}

Json levels_of(const Row& row, std::string_view text) {
  Json list = Json::array();
  for (std::size_t comma = 0; comma != std::string_view::npos;) {
    comma = text.find(',');
    list.push_back(number_of(row, text.substr(0, comma)));
    if (comma != std::string_view::npos) text.remove_prefix(comma + 1);
  }
  return list;
}

Json json_of(const Row& row, const std::string& text) {
  try {
    return base::parse_json(text);
  } catch (const Error& e) {
    throw Error(e.kind(), "--" + flag_name(row.name) + ": " + e.what());
  }
}

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return base::number_text(value.get<double>());
  return value.dump();
}

std::string list_text(const Json& value) {
  if (value.front().is_object()) return value.dump();
  std::string text;
  for (const auto& entry : value) text += (text.empty() ? "" : ",") + text_of(entry);
  return text;
}

// What is not there needs no flag; an empty prompt is one.
bool is_absent(const Row& row, const Json& value) {
  const bool no_file = row.form == Form::path && value == "";
  return value.is_null() || no_file || (value.is_array() && value.empty());
}

}  // namespace

std::string flag_names(const Row& row) {
  std::string names = "--" + flag_name(row.name);
  for (const auto alias : aliases_of(row)) names += ",--" + flag_name(alias);
  return names;
}

std::string flag_help(const Row& row) {
  std::string help(holds_levels(row) ? "separated by commas" : row.unit);
  const std::string range = row.form == Form::plain && row.most > 0 && !is_list(row) ? "" : range_text(row);
  if (!range.empty() && row.form == Form::plain) help += (help.empty() ? "" : ", ") + range;
  return help + (help.empty() ? "" : ": ") + std::string(row.help);
}

Json value_of_flag(const Row& row, const std::string& text) {
  if (is_whole(row)) return whole_of(row, text);
  if (is_number(row)) return number_of(row, text);
  if (!is_list(row)) return text;
  return holds_levels(row) ? levels_of(row, text) : json_of(row, text);
}

std::vector<std::pair<std::string, std::string>> flags_of(const Settings& settings) {
  const Fields fields{settings, {}};
  std::vector<std::pair<std::string, std::string>> flags;
  for (const Row& row : rows()) {
    if (row.group == Group::queue) continue;
    const Json value = value_of(row, fields);
    const bool follows = row.name == "num_inference_steps" && !settings.sigmas.empty();  // one a noise level
    if (is_absent(row, value) || follows) continue;
    flags.emplace_back(flag_name(row.name), value.is_array() ? list_text(value) : text_of(value));
  }
  return flags;
}

std::pair<std::int64_t, std::int64_t> parse_size(const std::string& text) {
  std::pair<std::int64_t, std::int64_t> size;
  const std::size_t sign = text.find_first_of("*x");
  const std::string_view all = text;
  if (sign == std::string::npos || !parse(all.substr(0, sign), size.first) ||
      !parse(all.substr(sign + 1), size.second)) {
    refuse_flag("size", text, "is no WIDTH*HEIGHT, such as 832*480");
  }
  return size;
}

}  // namespace nightreel::settings

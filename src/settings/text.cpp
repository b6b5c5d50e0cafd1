#include "settings/text.h"

#include <fmt/format.h>

namespace nightreel::settings {
namespace {

std::string bounds_text(const Row& row) {
  return fmt::format("{}{} to {}", row.above ? "above " : "", row.low, row.high);
}

}  // namespace

std::string range_text(const Row& row) {
  if (is_number(row)) return bounds_text(row);
  if (std::holds_alternative<std::vector<double> Fields::*>(row.member))
    return fmt::format("at most {}, each {}", row.most, bounds_text(row));
  if (is_list(row)) return fmt::format("at most {}", row.most);
  const auto choices = choices_of(row);
  if (!choices.empty()) return fmt::format("{}", fmt::join(choices, ", "));
  return row.form == Form::plain || row.form == Form::filled ? fmt::format("at most {} KiB", row.most >> 10U) : "";
}

}  // namespace nightreel::settings

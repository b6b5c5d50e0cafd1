#include "settings/text.h"

#include <fmt/format.h>

namespace nightreel::settings {
namespace {

template <typename Value>
bool holds(const Row& row) {
  return std::holds_alternative<Value Fields::*>(row.member);
}

std::string bounds_text(const Row& row) {
  return fmt::format("{}{} to {}", row.above ? "above " : "", row.low, row.high);
}

}  // namespace

bool is_whole(const Row& row) {
  return holds<std::int64_t>(row) || holds<std::uint64_t>(row) || holds<std::optional<std::int64_t>>(row);
}

bool is_number(const Row& row) {
  return is_whole(row) || holds<double>(row) || holds<std::optional<double>>(row);
}

bool is_list(const Row& row) {
  return holds<std::vector<double>>(row) || holds<std::vector<Lora>>(row);
}

std::string range_text(const Row& row) {
  if (is_number(row)) return bounds_text(row);
  if (holds<std::vector<double>>(row)) return fmt::format("at most {}, each {}", row.most, bounds_text(row));
  if (is_list(row)) return fmt::format("at most {}", row.most);
  const auto choices = choices_of(row);
  if (!choices.empty()) return fmt::format("{}", fmt::join(choices, ", "));
  return row.form == Form::plain || row.form == Form::filled ? fmt::format("at most {} KiB", row.most >> 10U) : "";
}

}  // namespace nightreel::settings

#include "settings/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "nightreel/base/error.h"
#include "nightreel/base/fields.h"
#include "nightreel/settings/id.h"
#include "settings/loras.h"

namespace nightreel::settings {
namespace {

bool is_blank(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
}

std::string read_id(const Json& value) {
  std::string id = base::read_text(value, kMaxPrompt);
  if (!was_id(id)) {
    base::refuse("'" + base::printable(id, 60) +
                 "' is no id: letters, digits, '.', '_' and '-', at most 128, the first no '.' and no '-'");
  }
  return id;
}

// One function a type of member: what a job may say.
void read(const Row& row, const Json& value, std::string& text) {
  const auto choices = choices_of(row);
  if (!choices.empty()) {
    text = base::read_choice(value, choices);
  } else if (row.form == Form::id) {
    text = read_id(value);
  } else {
    text = base::read_text(value, row.most);
    if (row.form == Form::filled && is_blank(text)) base::refuse("is empty");
  }
}

void read(const Row& row, const Json& value, std::int64_t& number) {
  number = base::read_integer(value, row.low, row.high);
}

void read(const Row& row, const Json& value, std::uint64_t& number) {
  number = static_cast<std::uint64_t>(base::read_integer(value, row.low, row.high));
}

void read(const Row& row, const Json& value, double& number) {
  number = base::read_number(value, static_cast<double>(row.low), static_cast<double>(row.high),
                             row.above ? base::Low::exclusive : base::Low::inclusive);
}

template <typename Number>
void read(const Row& row, const Json& value, std::optional<Number>& number) {
  read(row, value, number.emplace());
}

// Noise levels: they fall from step to step.
void read(const Row& row, const Json& value, std::vector<double>& list) {
  list.clear();
  for (const auto& entry : base::read_array(value, row.most)) {
    double number = 0;
    read(row, entry, number);
    if (!list.empty() && number >= list.back()) {
      base::refuse(fmt::format("must fall from step to step: {} follows {}", number, list.back()));
    }
    list.push_back(number);
  }
  if (list.empty()) base::refuse("is empty");
}

void read(const Row& row, const Json& value, std::vector<Lora>& loras) {
  loras = read_loras(value, row.most);
}

// The same of our own JSON, without bounds. nlohmann turns 1.5, -1 and 1e300 into any integer type without a word.
template <typename Whole>
void take_whole(const Row& row, const Json& value, Whole& target) {
  const bool fits = value.is_number_unsigned()
                        ? std::in_range<Whole>(value.get<std::uint64_t>())
                        : value.is_number_integer() && std::in_range<Whole>(value.get<std::int64_t>());
  if (!fits) {
    throw base::Error(base::ErrorKind::internal, "settings: " + std::string(row.name) + " is no integer of its type");
  }
  value.get_to(target);
}

void take(const Row& row, const Json& value, std::int64_t& number) {
  take_whole(row, value, number);
}

void take(const Row& row, const Json& value, std::uint64_t& number) {
  take_whole(row, value, number);
}

template <typename Value>
void take(const Row&, const Json& value, Value& target) {
  value.get_to(target);
}

template <typename Number>
void take(const Row& row, const Json& value, std::optional<Number>& number) {
  number.reset();
  if (!value.is_null()) take(row, value, number.emplace());
}

void take(const Row&, const Json& value, std::vector<Lora>& loras) {
  loras = take_loras(value);
}

template <typename Value>
Json json_of(const Value& value) {
  return value;
}

template <typename Number>
Json json_of(const std::optional<Number>& number) {
  return number ? Json(*number) : Json(nullptr);
}

Json json_of(const std::vector<Lora>& loras) {
  return loras_to_json(loras);
}

}  // namespace

void read_value(const Row& row, const Json& value, Fields& fields) {
  std::visit([&](auto member) { read(row, value, fields.*member); }, row.member);
}

void take_value(const Row& row, const Json& value, Fields& fields) {
  std::visit([&](auto member) { take(row, value, fields.*member); }, row.member);
}

Json value_of(const Row& row, const Fields& fields) {
  return std::visit([&](auto member) { return json_of(fields.*member); }, row.member);
}

void copy_value(const Row& row, const Fields& from, Fields& to) {
  std::visit([&](auto member) { to.*member = from.*member; }, row.member);
}

bool is_neutral(const Row& row, const Json& value) {
  return !row.neutral.empty() && value == Json::parse(row.neutral);
}

}  // namespace nightreel::settings

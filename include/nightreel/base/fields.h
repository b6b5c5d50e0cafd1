// Checked readers of JSON values, for objects that people write: a job, a checkpoint's nightreel.json, a config.
//
// Plain functions, no resources; any thread. Each throws Error{job} with the reason alone; at_field() puts the field's
// name in front. Who reads files of another kind catches it and gives it his own kind.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::base {

[[noreturn]] void refuse(const std::string& reason);
/// Throws "field: reason".
[[noreturn]] void refuse(std::string_view field, const std::string& reason);

/// A number as people write it: 5, 0.875.
std::string number_text(double value);

std::int64_t read_integer(const Json& value, std::int64_t low, std::int64_t high);
enum class Low { inclusive, exclusive };
double read_number(const Json& value, double low, double high, Low kind = Low::inclusive);
/// Of at most `limit` bytes.
std::string read_text(const Json& value, std::size_t limit);
std::string read_choice(const Json& value, const std::vector<std::string_view>& choices);
/// Of at most `limit` entries.
const Json& read_array(const Json& value, std::size_t limit);

/// Calls `read`; what it throws has the field's name in front.
template <typename Read>
auto at_field(std::string_view field, const Read& read) {
  try {
    return read();
  } catch (const Error& e) {
    refuse(field, e.what());
  }
}

/// What other programs call a field, and what it is called here. Edit distance alone would not find it.
using OtherNames = std::vector<std::pair<std::string_view, std::string_view>>;

/// Throws at the first member of `object` that `known` does not name, with the nearest known one.
void refuse_unknown(const Json& object, const std::vector<std::string>& known, const OtherNames& others = {});

}  // namespace nightreel::base

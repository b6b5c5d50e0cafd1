// Checked readers of JSON values, and the fields that a job and nightreel.json have in common.
//
// Each reader throws Error{job} with the reason alone; read_fields puts the field's name in front.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/job/job.h"

namespace nightreel::job {

[[noreturn]] void refuse(const std::string& reason);
/// Throws "field: reason".
[[noreturn]] void refuse(std::string_view field, const std::string& reason);

/// A number as people write it: 5, 0.875.
std::string number_text(double value);

std::int64_t read_integer(const Json& value, std::int64_t low, std::int64_t high);
enum class Low { inclusive, exclusive };
double read_number(const Json& value, double low, double high, Low kind = Low::inclusive);
std::string read_text(const Json& value, std::size_t limit);
std::string read_choice(const Json& value, const std::vector<std::string>& choices);
const Json& read_array(const Json& value, std::size_t limit);

template <typename Target>
struct Field {
  std::string_view name;
  void (*read)(const Json& value, Target& target);
};

/// Those that nightreel.json may state, and a job too.
extern const std::array<Field<Overrides>, 8> kOverrideFields;

/// Reads the members of `object` that `fields` names.
template <typename Target, std::size_t N>
void read_fields(const Json& object, const std::array<Field<Target>, N>& fields, Target& target) {
  for (const auto& field : fields) {
    const auto found = object.find(std::string(field.name));
    if (found == object.end()) continue;
    try {
      field.read(*found, target);
    } catch (const base::Error& e) {
      refuse(field.name, e.what());
    }
  }
}

template <typename Target, std::size_t N>
void append_names(const std::array<Field<Target>, N>& fields, std::vector<std::string>& names) {
  for (const auto& field : fields) names.emplace_back(field.name);
}

/// Throws at the first member of `object` that `known` does not name, with the nearest known one.
void refuse_unknown(const Json& object, const std::vector<std::string>& known);

}  // namespace nightreel::job

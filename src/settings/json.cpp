#include "nightreel/settings/json.h"

#include <nlohmann/json.hpp>
#include <string>

#include "nightreel/base/error.h"
#include "settings/value.h"

namespace nightreel::settings {

Json to_json(const Settings& settings) {
  const Fields fields{settings, {}};
  Json out = Json::object();
  for (const Row& row : rows()) {
    if (row.group != Group::queue) out[std::string(row.name)] = value_of(row, fields);
  }
  return out;
}

Settings settings_from_json(const Json& json) {
  try {
    Fields fields;
    for (const Row& row : rows()) {
      const std::string name(row.name);
      const bool older = !row.neutral.empty() && json.is_object() && !json.contains(name);
      if (row.group != Group::queue) take_value(row, older ? Json::parse(row.neutral) : json.at(name), fields);
    }
    return fields;
  } catch (const Json::exception& e) {
    throw base::Error(base::ErrorKind::internal, std::string("settings: ") + e.what());
  }
}

}  // namespace nightreel::settings

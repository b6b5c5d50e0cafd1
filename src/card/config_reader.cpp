#include "card/config_reader.h"

#include <cmath>

#include "card/foreign_fields.h"
#include "nightreel/base/fields.h"
#include "nightreel/card/checkpoint.h"

namespace nightreel::card {

using base::Json;

namespace {

constexpr std::size_t kMaxShown = 60;
constexpr std::size_t kMaxList = 1 << 12;

std::string shown(const Json& value) {
  return base::printable(base::dump_json(value), kMaxShown);
}

/// Written by `model convert --dtype fp8`; the tensors say the same by their type and their scales.
bool is_our_quantisation(const Json& config) {
  return config.is_object() && config.contains("quant_method") && config["quant_method"] == "nightreel_e4m3";
}

}  // namespace

ConfigReader::ConfigReader(Json config, std::string path) : config_(std::move(config)), path_(std::move(path)) {
  if (config_.is_object()) return;
  throw base::Error(base::ErrorKind::model, base::printable(path_) + ": not a JSON object");
}

ConfigReader ConfigReader::of(const std::string& path) {
  CheckpointJson file = checkpoint_json(path);
  return {std::move(file.json), std::move(file.path)};
}

void ConfigReader::refuse(const std::string& field, const std::string& reason) const {
  throw base::Error(base::ErrorKind::model, base::printable(path_) + ": " + base::printable(field, 80) + ": " + reason);
}

const Json& ConfigReader::value(const std::string& field) {
  static const Json kNothing;
  known_.insert(field);
  const auto found = config_.find(field);
  return found == config_.end() ? kNothing : *found;
}

bool ConfigReader::has(const std::string& field) {
  return !value(field).is_null();
}

std::int64_t ConfigReader::check_integer(const std::string& field, const Json& value, std::int64_t low,
                                         std::int64_t high) const {
  try {
    return base::read_integer(value, low, high);
  } catch (const base::Error& e) {
    refuse(field, e.what());
  }
}

std::int64_t ConfigReader::integer(const std::string& field, std::int64_t otherwise, std::int64_t high,
                                   std::int64_t low) {
  return has(field) ? check_integer(field, value(field), low, high) : otherwise;
}

double ConfigReader::number(const std::string& field, double low, double high, double otherwise) {
  const Json& given = value(field);
  if (given.is_null()) return otherwise;
  try {
    return base::read_number(given, low, high);
  } catch (const base::Error& e) {
    refuse(field, e.what());
  }
}

double ConfigReader::fraction(const std::string& field, double otherwise) {
  const Json& given = value(field);
  if (given.is_null()) return otherwise;
  if (!given.is_number() || given <= 0 || given >= 1) refuse(field, "must be a number between 0 and 1");
  return given.get<double>();
}

bool ConfigReader::boolean(const std::string& field, bool otherwise) {
  const Json& given = value(field);
  if (given.is_null()) return otherwise;
  if (!given.is_boolean()) refuse(field, "true or false is needed");
  return given.get<bool>();
}

std::string ConfigReader::text(const std::string& field) {
  const Json& given = value(field);
  if (given.is_null()) refuse(field, "is missing");
  if (!given.is_string()) refuse(field, "text is needed");
  return given.get<std::string>();
}

const Json& ConfigReader::list(const std::string& field) {
  const Json& given = value(field);
  if (given.is_null() || (given.is_array() && !given.empty() && given.size() <= kMaxList)) return given;
  refuse(field, "a list is needed");
}

std::vector<std::int64_t> ConfigReader::integers(const std::string& field, std::vector<std::int64_t> otherwise,
                                                 std::int64_t high) {
  const Json& given = list(field);
  if (given.is_null()) return otherwise;
  std::vector<std::int64_t> values;
  for (const Json& entry : given) values.push_back(check_integer(field, entry, 1, high));
  return values;
}

std::vector<bool> ConfigReader::booleans(const std::string& field, std::vector<bool> otherwise) {
  const Json& given = list(field);
  if (given.is_null()) return otherwise;
  std::vector<bool> values;
  for (const Json& entry : given) {
    if (!entry.is_boolean()) refuse(field, "a list of true and false is needed");
    values.push_back(entry.get<bool>());
  }
  return values;
}

std::vector<double> ConfigReader::numbers(const std::string& field, std::vector<double> otherwise) {
  const Json& given = list(field);
  if (given.is_null()) return otherwise;
  std::vector<double> values;
  for (const Json& entry : given) {
    if (!entry.is_number() || !std::isfinite(entry.get<double>())) refuse(field, "a list of finite numbers is needed");
    values.push_back(entry.get<double>());
  }
  return values;
}

void ConfigReader::require(const std::string& field, const Json& only, const std::string& reason) {
  const Json& given = value(field);
  if (!given.is_null() && given != only) refuse(field, shown(given) + " is not supported; " + reason);
}

void ConfigReader::refuse_unknown() const {
  for (const auto& [field, value] : config_.items()) {
    if (field == "quantization_config" && is_our_quantisation(value)) continue;
    if (field.rfind('_', 0) == 0 || value.is_null() || known_.count(field) > 0) continue;
    const std::string owner = class_with_field(field);
    refuse(field, owner.empty() ? "this program does not know this setting"
                                : "this program does not know this setting, which diffusers' " + owner + " has");
  }
}

}  // namespace nightreel::card

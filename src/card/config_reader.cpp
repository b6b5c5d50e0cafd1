#include "card/config_reader.h"

#include <cmath>

#include "nightreel/base/error.h"

namespace nightreel::model {

using nlohmann::json;

namespace {

/// Written by `model convert --dtype fp8`; the tensors say the same by their dtype and their scales.
bool is_our_quantisation(const json& config) {
  return config.is_object() && config.contains("quant_method") && config["quant_method"] == "nightreel_e4m3";
}

}  // namespace

ConfigReader::ConfigReader(const json& config, std::string path) : config_(config), path_(std::move(path)) {
  if (!config.is_object()) throw base::Error(base::ErrorKind::model, path_ + ": not a JSON object");
}

void ConfigReader::refuse(const std::string& key, const std::string& why) const {
  throw base::Error(base::ErrorKind::model, path_ + ": " + base::printable(key) + ": " + why);
}

json ConfigReader::value(const std::string& key) {
  known_.insert(key);
  return config_.value(key, json());
}

std::int64_t ConfigReader::check_size(const std::string& key, const json& entry, std::int64_t max) const {
  if (!entry.is_number_integer() || entry < 1 || entry > max) {
    refuse(key, base::printable(entry.dump()) + " is not a whole number from 1 to " + std::to_string(max));
  }
  return entry.get<std::int64_t>();
}

std::int64_t ConfigReader::integer(const std::string& key, std::int64_t fallback, std::int64_t max) {
  const json entry = value(key);
  return entry.is_null() ? fallback : check_size(key, entry, max);
}

double ConfigReader::fraction(const std::string& key, double fallback) {
  const json entry = value(key);
  if (entry.is_null()) return fallback;
  if (!entry.is_number() || entry <= 0 || entry >= 1) refuse(key, "must be a number between 0 and 1");
  return entry.get<double>();
}

bool ConfigReader::boolean(const std::string& key, bool fallback) {
  const json entry = value(key);
  if (entry.is_null()) return fallback;
  if (!entry.is_boolean()) refuse(key, "must be true or false");
  return entry.get<bool>();
}

std::optional<json> ConfigReader::list(const std::string& key) {
  json entry = value(key);
  if (entry.is_null()) return std::nullopt;
  if (!entry.is_array()) refuse(key, "must be a list");
  return entry;
}

std::vector<std::int64_t> ConfigReader::integers(const std::string& key, std::vector<std::int64_t> fallback,
                                                 std::int64_t max) {
  const auto entries = list(key);
  if (!entries) return fallback;
  std::vector<std::int64_t> values;
  for (const json& entry : *entries) values.push_back(check_size(key, entry, max));
  return values;
}

std::vector<bool> ConfigReader::booleans(const std::string& key, std::vector<bool> fallback) {
  const auto entries = list(key);
  if (!entries) return fallback;
  std::vector<bool> values;
  for (const json& entry : *entries) {
    if (!entry.is_boolean()) refuse(key, "must be a list of true and false");
    values.push_back(entry.get<bool>());
  }
  return values;
}

std::vector<double> ConfigReader::numbers(const std::string& key, std::vector<double> fallback) {
  const auto entries = list(key);
  if (!entries) return fallback;
  std::vector<double> values;
  for (const json& entry : *entries) {
    if (!entry.is_number() || !std::isfinite(entry.get<double>())) refuse(key, "must be a list of finite numbers");
    values.push_back(entry.get<double>());
  }
  return values;
}

void ConfigReader::require(const std::string& key, const json& only, const std::string& why) {
  const json entry = value(key);
  if (!entry.is_null() && entry != only) refuse(key, base::printable(entry.dump()) + " is not supported; " + why);
}

void ConfigReader::refuse_unknown() const {
  for (const auto& [key, entry] : config_.items()) {
    if (key == "quantization_config" && is_our_quantisation(entry)) continue;
    if (key.rfind('_', 0) == 0 || entry.is_null() || known_.count(key) > 0) continue;
    refuse(key, "this program does not know this setting");
  }
}

}  // namespace nightreel::model

#include "model/lora_metadata.h"

#include <cmath>
#include <string_view>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;
using base::Json;

constexpr const char* kEntry = "lora_adapter_metadata";  // diffusers' LORA_ADAPTER_METADATA_KEY
constexpr const char* kPrefix = "transformer.";

[[noreturn]] void refuse_metadata(const SafetensorsFile& file, const std::string& why) {
  throw Error(ErrorKind::job, file.path() + ": " + kEntry + ": " + why);
}

double read_alpha(const SafetensorsFile& file, const std::string& what, const Json& value) {
  if (!value.is_number()) refuse_metadata(file, base::printable(what) + ": is no number");
  return value.get<double>();  // finite: parse_json refuses others
}

/// peft takes these as regular expressions; names with dots are all that Wan LoRAs need of them.
void check_pattern(const SafetensorsFile& file, const std::string& pattern) {
  const std::size_t from = pattern.rfind('^', 0) == 0 ? 1 : 0;
  if (pattern.size() > from && pattern.find_first_of("^$*+?()[]{}|\\", from) == std::string::npos) return;
  refuse_metadata(file, "alpha_pattern: " + base::printable(pattern) + " is no name of a module");
}

bool matches(const std::string& pattern, const std::string& module) {
  if (pattern[0] == '^') return module.compare(pattern.substr(1)) == 0;
  if (module.size() <= pattern.size()) return module == pattern;
  const std::size_t from = module.size() - pattern.size();
  return module[from - 1] == '.' && module.compare(from, pattern.size(), pattern) == 0;
}

}  // namespace

double LoraMetadata::factor(const std::string& module, std::int64_t rank) const {
  const auto by = static_cast<double>(rank);
  double own = alpha.value_or(by);
  for (const auto& [pattern, value] : patterns) {
    if (matches(pattern, module)) own = value;
  }
  return own / (rank_stabilised ? std::sqrt(by) : by);
}

LoraMetadata read_lora_metadata(const SafetensorsFile& file) {
  LoraMetadata metadata;
  const auto entry = file.metadata().find(kEntry);
  if (entry == file.metadata().end()) return metadata;
  Json config;
  try {
    config = base::parse_json(entry->second);
  } catch (const Error& e) {
    refuse_metadata(file, e.what());
  }
  if (!config.is_object()) refuse_metadata(file, "not a JSON object");
  const auto value = [&](const char* name) { return config.value(std::string(kPrefix) + name, Json()); };
  if (value("use_dora") == true) refuse_metadata(file, "use_dora: this program does not merge DoRA");
  metadata.rank_stabilised = value("use_rslora") == true;
  const Json alpha = value("lora_alpha");
  if (!alpha.is_null()) metadata.alpha = read_alpha(file, "lora_alpha", alpha);
  const Json patterns = value("alpha_pattern");
  if (!patterns.is_object() && !patterns.is_null()) refuse_metadata(file, "alpha_pattern: not an object");
  for (const auto& [pattern, own] : patterns.items()) {
    check_pattern(file, pattern);
    metadata.patterns[pattern] = read_alpha(file, "alpha_pattern: " + pattern, own);
  }
  return metadata;
}

}  // namespace nightreel::model

#include "model/lora_metadata.h"

#include <cmath>
#include <filesystem>
#include <string_view>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;
using base::Json;

constexpr const char* kEntry = "lora_adapter_metadata";  // diffusers' LORA_ADAPTER_METADATA_KEY
constexpr const char* kPeftWeights = "adapter_model.safetensors";
constexpr const char* kPeftConfig = "adapter_config.json";
constexpr std::size_t kMaxConfig = 1U << 20U;

/// peft's configuration of one component, wherever it stands.
struct PeftConfig {
  Json json;
  std::string prefix;  // of its fields' names
  std::string source;  // for messages

  [[noreturn]] void refuse(const std::string& why) const { throw Error(ErrorKind::job, source + ": " + why); }
  Json value(const char* name) const { return json.value(prefix + name, Json()); }
};

double read_alpha(const PeftConfig& config, const std::string& what, const Json& value) {
  if (!value.is_number()) config.refuse(base::printable(what) + ": is no number");
  return value.get<double>();  // finite: parse_json refuses others
}

/// peft takes these as regular expressions; names with dots are all that Wan LoRAs need of them.
void check_pattern(const PeftConfig& config, const std::string& pattern) {
  const std::size_t from = pattern.rfind('^', 0) == 0 ? 1 : 0;
  if (pattern.size() > from && pattern.find_first_of("^$*+?()[]{}|\\", from) == std::string::npos) return;
  config.refuse("alpha_pattern: " + base::printable(pattern) + " is no name of a module");
}

bool matches(const std::string& pattern, const std::string& module) {
  if (pattern[0] == '^') return module.compare(pattern.substr(1)) == 0;
  if (module.size() <= pattern.size()) return module == pattern;
  const std::size_t from = module.size() - pattern.size();
  return module[from - 1] == '.' && module.compare(from, pattern.size(), pattern) == 0;
}

LoraMetadata read_config(const PeftConfig& config) {
  LoraMetadata metadata;
  if (config.value("use_dora") == true) config.refuse("use_dora: this program does not merge DoRA");
  const Json type = config.value("peft_type");
  if (!type.is_null() && type != "LORA") config.refuse("peft_type: this program merges LORA alone");
  metadata.rank_stabilised = config.value("use_rslora") == true;
  const Json alpha = config.value("lora_alpha");
  if (!alpha.is_null()) metadata.alpha = read_alpha(config, "lora_alpha", alpha);
  const Json patterns = config.value("alpha_pattern");
  if (!patterns.is_object() && !patterns.is_null()) config.refuse("alpha_pattern: not an object");
  for (const auto& [pattern, own] : patterns.items()) {
    check_pattern(config, pattern);
    metadata.patterns[pattern] = read_alpha(config, "alpha_pattern: " + pattern, own);
  }
  return metadata;
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

std::optional<std::string> peft_config_beside(const std::string& path) {
  const std::filesystem::path file(path);
  if (file.filename() != kPeftWeights) return std::nullopt;
  const std::string config = (file.parent_path() / kPeftConfig).string();
  std::error_code error;
  if (!std::filesystem::exists(config, error)) return std::nullopt;
  try {
    return base::read_file(config, kMaxConfig);
  } catch (const Error& e) {
    throw Error(ErrorKind::job, e.what());
  }
}

LoraMetadata read_lora_metadata(const weights::TensorFile& file, const std::string& component,
                                const std::optional<std::string>& peft_config) {
  PeftConfig config{{}, peft_config ? "" : component, file.path() + ": " + (peft_config ? kPeftConfig : kEntry)};
  const auto entry = file.metadata().find(kEntry);
  if (!peft_config && entry == file.metadata().end()) return {};
  try {
    config.json = base::parse_json(peft_config ? *peft_config : entry->second);
  } catch (const Error& e) {
    config.refuse(e.what());
  }
  if (!config.json.is_object()) config.refuse("not a JSON object");
  return read_config(config);
}

}  // namespace nightreel::model

// What a LoRA file's header says about its scaling: diffusers writes peft's configuration there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "nightreel/model/safetensors.h"

namespace nightreel::model {

/// lora_alpha, alpha_pattern and use_rslora of peft's LoraConfig. Without them alpha is the rank.
struct LoraMetadata {
  std::optional<double> alpha;
  std::map<std::string, double> patterns;  // end of a module's name, or with '^' all of it -> its alpha
  bool rank_stabilised = false;

  /// What scales up @ down of this module: alpha / rank, with use_rslora alpha / sqrt(rank).
  double factor(const std::string& module, std::int64_t rank) const;
};

/// From "lora_adapter_metadata" of the header's __metadata__, the entries of "transformer.". Throws Error{job} for what
/// is there and cannot be followed: broken JSON, DoRA, patterns that are more than names.
LoraMetadata read_lora_metadata(const SafetensorsFile& file);

}  // namespace nightreel::model

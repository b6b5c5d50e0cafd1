// What a LoRA's configuration says about its scaling: diffusers writes peft's into the file's header, peft itself into
// adapter_config.json beside the file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "nightreel/weights/tensor_file.h"

namespace nightreel::model {

/// lora_alpha, alpha_pattern and use_rslora of peft's LoraConfig. Without them alpha is the rank.
struct LoraMetadata {
  std::optional<double> alpha;
  std::map<std::string, double> patterns;  // end of a module's name, or with '^' all of it -> its alpha
  bool rank_stabilised = false;

  /// What scales up @ down of this module: alpha / rank, with use_rslora alpha / sqrt(rank).
  double factor(const std::string& module, std::int64_t rank) const;
};

/// The text of adapter_config.json beside adapter_model.safetensors, as peft's save_pretrained writes both; nothing for
/// other files, or where there is none. Throws Error{job}.
std::optional<std::string> peft_config_beside(const std::string& path);

/// From that text or else from "lora_adapter_metadata" of the header's __metadata__, the entries of `component`
/// ("transformer." or "transformer_2."). Throws Error{job} for what is there and cannot be followed: broken JSON, DoRA,
/// other kinds than LoRA, patterns that are more than names.
LoraMetadata read_lora_metadata(const weights::TensorFile& file, const std::string& component,
                                const std::optional<std::string>& peft_config);

}  // namespace nightreel::model

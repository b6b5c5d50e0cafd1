// The key of a LoRA file taken apart: which expert, which module, and what it is to the module. Any thread; nothing
// fails: what this program cannot merge is described.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "nightreel/model/lora.h"

namespace nightreel::model {

enum class LoraRole { down, up, bias, alpha, difference, bias_difference, table_difference };

struct LoraKey {
  std::optional<Expert> expert;  // as the key's first word says; nothing where it says none
  std::string module;            // without the prefixes of ComfyUI, kohya, peft
  LoraRole role;
};

std::optional<LoraKey> take_lora_key_apart(std::string_view name);

/// What a key of no kind that is merged is a part of: "DoRA", "LoKr", "LoHa", "OFT"; empty where it is not known.
std::string foreign_adapter(std::string_view name);

}  // namespace nightreel::model

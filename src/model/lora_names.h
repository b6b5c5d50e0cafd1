// What LoRA files call a transformer's tensors. Any thread; nothing fails.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nightreel/weights/original_names.h"

namespace nightreel::model {

/// Module and leaf of a tensor, as LoraChange has them.
using LoraName = std::pair<std::string, std::string>;

/// Every name under which a LoRA file may mean the tensor with this Diffusers name: in Diffusers' and in the original
/// code's terms (`originals`: the transformer's), with dots and with kohya's underscores.
std::vector<LoraName> lora_names(const std::string& diffusers_name, const weights::OriginalNames& originals);

}  // namespace nightreel::model

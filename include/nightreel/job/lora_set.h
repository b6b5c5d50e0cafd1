// Which jobs need the same merged weights.
//
// Plain values; any thread; nothing fails. The files are not read: a file that changes behind its path is noticed by
// the renderer (model/lora.h).
#pragma once

#include <string>
#include <vector>

#include "nightreel/settings/settings.h"

namespace nightreel::job {

/// In the one order in which a set is merged, so that LoRAs listed in another order give the same weights, bit for bit.
std::vector<settings::Lora> in_merge_order(std::vector<settings::Lora> loras);

/// 32 hex digits, equal for lists of the same paths (resolved ones: Job::loras, Settings::loras), scales and experts in
/// any order; empty without LoRAs. A rank that prefers jobs of the set that its renderer has merged compares these.
std::string lora_set(const std::vector<settings::Lora>& loras);

}  // namespace nightreel::job

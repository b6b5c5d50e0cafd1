// The list of LoRAs in a job.
#pragma once

#include <vector>

#include "nightreel/base/json.h"
#include "nightreel/settings/settings.h"

namespace nightreel::settings {

inline constexpr double kMaxLoraScale = 100;

/// Throws Error{job} with the reason alone.
std::vector<Lora> read_loras(const base::Json& value, std::size_t most);

/// From our own JSON; nlohmann's exceptions.
std::vector<Lora> take_loras(const base::Json& value);
base::Json loras_to_json(const std::vector<Lora>& loras);

/// As JSON Schema describes one.
base::Json lora_schema();

}  // namespace nightreel::settings

// The settings of a job are those of the layer `settings`.
#pragma once

#include "nightreel/settings/json.h"
#include "nightreel/settings/settings.h"

namespace nightreel::job {

using settings::Encoding;
using settings::kMaxPriority;
using settings::kMaxPrompt;
using settings::kMaxSteps;
using settings::Lora;
using settings::Settings;
using settings::settings_from_json;
using settings::to_json;

}  // namespace nightreel::job

// Settings as JSON between our own programs and files: requests, sidecars, archives.
//
// Plain functions; any thread.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "nightreel/settings/settings.h"

namespace nightreel::settings {

/// Every row of sampling and encoding is written, absent optionals as null.
nlohmann::json to_json(const Settings& settings);

/// Reads what to_json wrote, also of a version that did not have some of the settings (Row::neutral). Bounds are not
/// checked: they were where the settings came from. Throws Error{internal} on anything else.
Settings settings_from_json(const nlohmann::json& json);

}  // namespace nightreel::settings

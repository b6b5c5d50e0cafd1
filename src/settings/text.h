// A row in words, for --help and docs/jobs.md.
#pragma once

#include <string>

#include "nightreel/settings/row.h"

namespace nightreel::settings {

/// "1 to 16384", "above 0 to 240", "unipc, dpm++, euler", "at most 64 KiB"; empty: nothing that could be said shortly.
std::string range_text(const Row& row);

}  // namespace nightreel::settings

// What people and other programs read about the settings, made from the rows.
//
// Plain functions; any thread.
#pragma once

#include <string>

#include "nightreel/base/json.h"

namespace nightreel::settings {

/// The table of docs/jobs.md: Markdown, a line a setting.
std::string table();

/// share/nightreel/job.schema.json: a job as JSON Schema (draft 2020-12) describes it. What needs files, the model or
/// two fields at once it cannot judge.
base::Json schema();

}  // namespace nightreel::settings

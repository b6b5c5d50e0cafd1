// Flags that are made from the rows of the settings (settings/row.h).
//
// Plain functions; the thread that parses the command line.
#pragma once

#include <CLI/CLI.hpp>

#include "nightreel/base/json.h"
#include "nightreel/settings/row.h"

namespace nightreel::app {

/// A flag for each row that `wanted` takes, and --size for width and height. What is given goes into `job` as a job's
/// field has it: it is checked like one. What `job` has already is shown as the default.
void add_setting_flags(CLI::App& sub, base::Json& job, bool (*wanted)(const settings::Row& row));

/// --crf and --codec of a command that is given no job, or many.
void add_encoding_flags(CLI::App& sub, settings::Encoding& encoding);

}  // namespace nightreel::app

// Settings as flags of a command line, in both directions.
//
// Plain functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nightreel/base/json.h"
#include "nightreel/settings/row.h"

namespace nightreel::settings {

/// "--num-frames,--frame-num,--frames": a row's flag with its aliases.
std::string flag_names(const Row& row);

/// "pixels, 1 to 16384: a multiple that the model allows; …": what --help says of the row.
std::string flag_help(const Row& row);

/// A flag's value as a job's field has it. Numbers and lists that are none are an Error{usage} "--flag: reason"; bounds
/// are left to read_stated().
base::Json value_of_flag(const Row& row, const std::string& text);

/// The flags, without their hyphens, and the values with which `generate` makes a video of these settings.
std::vector<std::pair<std::string, std::string>> flags_of(const Settings& settings);

/// "832*480", as Wan writes it, or "832x480": width, height. Throws Error{usage} "--size: reason".
std::pair<std::int64_t, std::int64_t> parse_size(const std::string& text);

/// Why generate does not have this flag of Wan's generate.py or of diffusers' scripts, and what to write instead;
/// empty: it is none of theirs. `name`: with hyphens, without the two in front.
std::string_view foreign_flag(std::string_view name);

}  // namespace nightreel::settings

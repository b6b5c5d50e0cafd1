// What both executables' command lines share: spellings, precedence, exit codes, and how an error is shown.
//
// Precedence is flag > environment NIGHTREEL_* > --config FILE.toml > default. CLI11 itself would let the file win over
// the environment, so the file is read here first and put under the environment.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/base/error.h"

namespace nightreel::app {

/// A subcommand's action: what main returns.
using Action = std::function<int()>;

/// A subcommand adds its options to `app` and sets `action` when it was the one that was named.
using Subcommand = void (*)(CLI::App& app, Action& action);

/// Subcommands of another executable, for --help and for suggestions: name, description.
using Elsewhere = std::vector<std::pair<std::string, std::string>>;

/// argv[1..] with underscores in flag names turned into hyphens, as Wan and diffusers write them (--frame_num).
std::vector<std::string> normalise_arguments(const std::vector<std::string>& arguments);

/// Gives every option of `app` and its subcommands the variable NIGHTREEL_<NAME IN CAPITALS>.
void name_environment(CLI::App& app);

/// Reads the file that --config (or NIGHTREEL_CONFIG) names, if any, and sets the variables of its entries that are not
/// set yet. Throws base::Error{usage} with the file and the entry when an entry is no option of this program.
void apply_config_file(const CLI::App& app, const std::vector<std::string>& arguments);

/// Throws base::Error{usage} for a subcommand or a flag that there is none of, with the nearest that there is.
void check_names(const CLI::App& app, const std::vector<std::string>& arguments, const Elsewhere& elsewhere);

/// Tells it in one line on stderr, "nightreel: …", and returns its exit code.
int show(const base::Error& error);

/// Parses, runs the action, prints an Error as one line "nightreel: …" and returns the exit code.
int run_command_line(const std::string& description, const std::vector<Subcommand>& subcommands, int argc, char** argv,
                     const Elsewhere& elsewhere = {});

}  // namespace nightreel::app

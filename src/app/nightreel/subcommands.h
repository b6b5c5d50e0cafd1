// The subcommands that this executable runs itself; one file each.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "app/common/command_line.h"

namespace nightreel::app {

/// The JSON object that `nightreel-engine version` prints. Throws Error{environment} where the engine cannot be run.
std::string engine_versions();

/// What `version` tells: the engine's answer and what this executable links. Throws Error{environment} where the two
/// are of different builds.
nlohmann::json all_versions(const std::string& engines);

void add_run(CLI::App& app, Action& action);
void add_submit(CLI::App& app, Action& action);
void add_version(CLI::App& app, Action& action);
void add_status(CLI::App& app, Action& action);
void add_cancel(CLI::App& app, Action& action);
void add_retry(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_bench_comm(CLI::App& app, Action& action);

/// Those that nightreel-engine runs, and `bench comm`, which stands beside `bench` in --help.
const Elsewhere& engine_subcommands();

/// What every nightreel-engine inherits where the user has not chosen: how long OpenMP's threads wait for each other
/// before they sleep. libgomp reads it before main. Its own 300,000 turns cost a whole time slice at the end of every
/// small loop when other renderers or the video encoder have the core (docs/bench.md has figures); 1,000 is what
/// libgomp itself takes where threads are more than cores.
void set_engine_environment();

/// nightreel-engine's arguments where these (argv[1..]) name one of its subcommands, which then stands first: --config
/// may have stood before it. Empty otherwise, and for `bench comm`.
std::vector<std::string> engine_arguments(const std::vector<std::string>& arguments);

/// Becomes nightreel-engine where there are arguments for it; returns otherwise. Throws Error{environment} where there
/// is no such executable.
void become_engine(int argc, char** argv);

}  // namespace nightreel::app

// The engine's subcommands, one file each. See app/common/command_line.h for what they take.
#pragma once

#include "app/common/command_line.h"

namespace nightreel::app {

void add_render(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_decode(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_model(CLI::App& app, Action& action);
void add_engine_version(CLI::App& app, Action& action);

}  // namespace nightreel::app

// --renderer-env, of the subcommands that start renderers.
#pragma once

#include <string>
#include <vector>

#include "app/common/command_line.h"

namespace nightreel::app {

/// Into `names`, checked: a name that holds a password or a token is a usage error.
void add_renderer_env(CLI::App& sub, std::vector<std::string>& names);

}  // namespace nightreel::app

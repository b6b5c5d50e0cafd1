// The program nightreel-engine: what main calls, and the tests' engine_commands. Throws nothing.
#pragma once

namespace nightreel::app {

/// Runs the subcommand that argv names; returns the exit code. For `render` standard input and output are a rank's.
int run_engine(int argc, char** argv);

}  // namespace nightreel::app

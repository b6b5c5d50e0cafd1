// The program `nightreel` without becoming nightreel-engine: what main calls, and tests in their own process.
//
// Prints to stdout and stderr, reads the environment, and --config sets variables of it. `run` from its first rank on,
// `doctor` and `bench comm` start MPI, which a process can do once; all else may be called again and again, from one
// thread. Throws nothing.
#pragma once

namespace nightreel::app {

/// Runs the subcommand that argv names; returns the exit code.
int run_nightreel(int argc, char** argv);

}  // namespace nightreel::app

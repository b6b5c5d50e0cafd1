// `nightreel run` from its first check to the exit code that all ranks agree on.
//
// Owns everything of the run while it lasts: MPI, the private server, the renderer. To be called once, from the main
// thread, before any other thread exists. Throws base::Error for what stops the run before the ranks have met; what
// stops it later one of them tells (RunOptions::show).
#pragma once

#include "nightreel/rank/options.h"

namespace nightreel::rank {

/// Returns the run's exit code.
int run(const RunOptions& options);

}  // namespace nightreel::rank

// Did the launcher start what was asked for? The launcher's variables are looked at to check MPI, never to decide
// anything. No state; any thread.
#pragma once

#include <optional>
#include <string>

#include "nightreel/cluster/gpu.h"

namespace nightreel::cluster {

/// Who started this process: "mpirun", "srun", "pmi" (another launcher that speaks PMI), "none". For logs.
std::string launcher(const Environment& environment);

/// The rank that the launcher gave this process, 0 where it says none: for who speaks where MPI itself does not work.
int launcher_rank(const Environment& environment);

/// The Slurm job this process belongs to ("123", "120_7" in an array), or "". A label.
std::string launcher_job_id(const Environment& environment);

/// Throws Error{environment}: `mpi_size` is not `expected_ranks`, or MPI knows one rank where the launcher promised
/// more (a program built for another MPI than the launcher's: every process would think that it is the only one).
void check_launch(int mpi_size, const std::optional<int>& expected_ranks, const Environment& environment);

}  // namespace nightreel::cluster

// `nightreel doctor`: is this launch, are these hosts, GPUs, folders and servers fit for a run?
//
// Collective: every rank of the world calls examine(), which owns MPI and one renderer without a model for its time.
// Called by the main thread. One broken check never stops the others, and none hangs it: what a rank does alone runs
// beside a deadline, what ranks do together has the World's, and a watchdog ends what neither can (MPI_Init, a dead
// NFS server).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/doctor/report.h"

namespace nightreel::doctor {

struct Options {
  std::string model;  // empty: not checked, as for the next two
  std::string out;
  std::string redis;  // as --redis; empty: the environment's, or a private server under `out`
  std::string queue = "default";
  std::string device = "auto";  // auto, cpu, cuda
  bool share_gpu = false;
  int ranks_per_video = 1;  // as --ranks-per-video: above 1 the renderers must be able to meet
  std::optional<int> expect_ranks;
  std::vector<std::string> renderer_env = {};  // as of run
  std::chrono::seconds patience{60};           // for one check of one rank; reading a model takes what its size needs
};

/// Where the result goes. Both may be called from another thread than the caller's, but then examine() never returns.
struct Hooks {
  std::function<void(const Report&)> show;  // once, on rank 0
  std::function<void(int code)> leave;      // ends the process at once, without a word to MPI
};

/// The exit code, the same on every rank: exit_code() of the report. Throws Error{usage} for a device that is none.
int examine(const Options& options, const Hooks& hooks);

}  // namespace nightreel::doctor

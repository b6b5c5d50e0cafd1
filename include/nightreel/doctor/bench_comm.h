// `nightreel bench comm`: how fast the renderers of a world, or of each group in it, exchange what a video needs, with
// every byte checked in the same run.
//
// Collective: every rank of the world calls it, on its main thread; it owns MPI and one renderer without a model.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nightreel::doctor {

struct CommBenchOptions {
  std::string device = "auto";  // auto, cpu, cuda
  bool share_gpu = false;
  std::optional<int> expect_ranks;
  int ranks_per_video = 0;  // the groups' size; 0: all ranks in one
  std::uint64_t bytes = 0;  // that a member sends; 0: the sizes that Wan needs
  int repeats = 10;         // of each exchange; the median counts
  bool json = false;
  std::chrono::seconds patience{60};           // for one exchange
  std::vector<std::string> renderer_env = {};  // as of run
};

/// `print` gets the result, once, on rank 0. 0, or 1 where wrong bytes came. Throws the same Error{environment} on
/// every rank where the ranks have no devices or their renderers do not meet.
int bench_comm(const CommBenchOptions& options, const std::function<void(const std::string&)>& print);

}  // namespace nightreel::doctor

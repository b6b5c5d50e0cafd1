// Which rank gets which GPU, decided from what all ranks said about themselves: a pure function, so that every rank
// comes to the same answer. No state; any thread.
//
// The rule: among the ranks of a host that see the same list of devices, the i-th takes the i-th. That is one GPU a
// local rank where all see all, and a rank's only GPU where the launcher binds one to each task.
#pragma once

#include <string>
#include <vector>

#include "nightreel/cluster/gpu.h"
#include "nightreel/cluster/mpi.h"

namespace nightreel::cluster {

enum class DeviceRequest { automatic, cpu, cuda };

/// "auto", "cpu", "cuda"; anything else is Error{usage}.
DeviceRequest parse_device_request(const std::string& text);

/// What one rank tells the others.
struct RankFacts {
  int rank = 0;
  std::string host;
  int host_index = 0;
  int local_rank = 0;
  long pid = 0;
  DeviceRequest request = DeviceRequest::automatic;
  bool share_gpu = false;
  std::vector<GpuDevice> gpus;  // visible to it
};

/// What this rank has to tell; NVML is asked unless the CPU was asked for. Throws Error{environment} where NVML is
/// there and does not work.
RankFacts own_facts(int rank, const Place& place, DeviceRequest request, bool share_gpu,
                    const Environment& environment);

std::string to_json(const RankFacts& facts);
/// Throws Error{environment}: the other rank is another version of the program.
RankFacts rank_facts(const std::string& json);

struct GpuMap {
  std::vector<std::string> devices;  // of each rank: a UUID, or "cpu"
  std::string error;                 // not empty: why there is no map, with ranks and hosts
  std::string sharing = {};          // not empty: ranks of one GPU, or of slices of one, which NCCL does not let meet
};

/// `ranks` in rank order. Refused: two ranks on one GPU and more ranks than GPUs (unless share_gpu), a rank without a
/// GPU where cuda was asked for or others have one, ranks that were asked for different things.
GpuMap assign_gpus(const std::vector<RankFacts>& ranks);

}  // namespace nightreel::cluster

// What a host offers its ranks beside GPUs: shared memory, locked memory, its network addresses, its clock.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/context.h"

namespace nightreel::doctor {

struct HostFacts {
  std::uint64_t shm_bytes = 0;  // of /dev/shm; 0: there is none
  std::uint64_t shm_free = 0;
  std::uint64_t memlock_bytes = 0;  // that may be locked; UINT64_MAX: any number
  bool infiniband = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostFacts, shm_bytes, shm_free, memlock_bytes, infiniband)

HostFacts host_facts();
/// `on_gpus`: NCCL is going to need both.
Findings judge_host(const Places& places, const std::vector<Answer<HostFacts>>& answers, bool on_gpus);

struct Skew {
  double offset_s = 0;       // this rank's clock minus rank 0's
  double uncertainty_s = 0;  // half of the shortest round trip
};

/// Collective; of every rank, on rank 0. Throws Lost.
std::vector<Skew> measure_skews(const Context& context);
Finding judge_clocks(const Places& places, const std::vector<Skew>& skews);

}  // namespace nightreel::doctor

// The GPUs as NVML sees them: which rank gets which, what hides them from each other, whether the driver is new enough.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/ranks.h"
#include "nightreel/cluster/gpu_map.h"

namespace nightreel::doctor {

struct GpuFacts {
  std::string own;                // cluster::RankFacts as JSON
  bool nvml = false;              // there is a driver
  std::string driver;             // "580.65.06"
  int cuda = 0;                   // that the driver speaks: 13000 is 13.0; 0: it does not say
  std::vector<std::string> seen;  // UUIDs of all GPUs that NVML shows this rank, whatever CUDA_VISIBLE_DEVICES says
  std::vector<std::string> busy;  // UUIDs of those on which somebody computes already
  std::string visible;            // CUDA_VISIBLE_DEVICES; empty: not set
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GpuFacts, own, nvml, driver, cuda, seen, busy, visible)

/// Throws Error{environment} where NVML is there and does not work.
GpuFacts gpu_facts(int rank, const cluster::Place& place, cluster::DeviceRequest request, bool share_gpu,
                   const cluster::Environment& environment);

struct GpuJudgement {
  Findings findings;
  std::vector<std::string> devices;  // of each rank; empty: there is no map
  std::string sharing;               // cluster::GpuMap's
};

GpuJudgement judge_gpus(const Places& places, const std::vector<Answer<GpuFacts>>& answers);

/// Is the driver new enough for the CUDA that the engine was built with ("13.0"; empty: without CUDA)? `on_gpu`: a GPU
/// is to be used at all.
Finding judge_driver(const Places& places, const std::vector<Answer<GpuFacts>>& answers, const std::string& engine_cuda,
                     bool on_gpu);

}  // namespace nightreel::doctor

#include "doctor/gpus.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "nightreel/base/error.h"

namespace nightreel::doctor {
namespace {

using cluster::DeviceRequest;
using cluster::RankFacts;

constexpr const char* kDriverFix =
    "nvidia-smi says what ails the driver; after an update of its package load the new module, or restart the host";

std::string version_text(int cuda) {
  return std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10);
}

const cluster::GpuDevice* find(const RankFacts& facts, const std::string& uuid) {
  for (const auto& gpu : facts.gpus) {
    if (gpu.uuid == uuid) return &gpu;
  }
  return nullptr;
}

std::string whole_gibibytes(std::uint64_t bytes) {
  return std::to_string((bytes + (1U << 29U)) >> 30U) + " GiB";
}

// "rank 0: GPU-… (NVIDIA H100, 80 GiB), rank 1: …".
std::string map_text(const std::vector<RankFacts>& ranks, const std::vector<std::string>& devices) {
  std::string text;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const auto* gpu = find(ranks[r], devices[r]);
    text += (r == 0 ? "rank " : ", rank ") + std::to_string(r) + ": " + devices[r];
    if (gpu != nullptr) text += " (" + gpu->name + ", " + whole_gibibytes(gpu->memory_bytes) + ")";
  }
  return text;
}

std::string map_fix(const std::string& error) {
  if (error.find("no GPU") != std::string::npos || error.find("none on host") != std::string::npos) {
    return "ask the launcher for GPUs on every host (--gpus-per-node, nvidia.com/gpu), see CUDA_VISIBLE_DEVICES, or "
           "pass "
           "--device cpu";
  }
  return "start one rank a GPU (-np, slots in the host file, --ntasks-per-node), or pass --share-gpu";
}

Finding judge_no_gpu(const Places& places, const std::vector<Answer<GpuFacts>>& answers, DeviceRequest request) {
  if (request == DeviceRequest::cpu) return ok("gpus", "not asked for: --device cpu");
  const auto hidden = ranks_where(answers, [](const GpuFacts& f) { return !f.seen.empty(); });
  if (!hidden.empty()) {
    return warning("gpus",
                   "CUDA_VISIBLE_DEVICES hides all GPUs from " + names_of(places, hidden) +
                       ": videos would be rendered on the CPU",
                   "take it out of the environment, or pass --device cpu if that is meant");
  }
  return warning("gpus", "no host has a GPU with a driver: videos would be rendered on the CPU",
                 "install NVIDIA's driver, give the container its GPUs, or pass --device cpu if that is meant");
}

// A device cgroup hides other ranks' GPUs from NVML too; CUDA_VISIBLE_DEVICES alone does not, and NCCL copes with that.
Finding judge_peers(const Places& places, const std::vector<Answer<GpuFacts>>& answers,
                    const std::vector<std::string>& devices) {
  std::vector<int> blind;
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const auto& seen = answers[r].facts.seen;
    for (std::size_t other = 0; other < answers.size(); ++other) {
      const bool neighbour = places[other].host_index == places[r].host_index && devices[other].rfind("GPU-", 0) == 0;
      if (!neighbour || std::find(seen.begin(), seen.end(), devices[other]) != seen.end()) continue;
      blind.push_back(static_cast<int>(r));
      break;
    }
  }
  if (blind.empty()) return ok("peer access", "each rank sees the GPUs of all ranks of its host");
  return warning("peer access",
                 "GPUs of other ranks of the host are hidden from " + names_of(places, blind) +
                     ": groups of GPUs would talk through host memory",
                 "Slurm: --gpus-per-node with --gpu-bind=none (neither --gpus-per-task nor --gpu-bind=single)");
}

Finding judge_busy(const std::vector<Answer<GpuFacts>>& answers, const std::vector<std::string>& devices) {
  std::string text;
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const auto& busy = answers[r].facts.busy;
    if (std::find(busy.begin(), busy.end(), devices[r]) == busy.end()) continue;
    text += (text.empty() ? "" : ", ") + devices[r] + " of rank " + std::to_string(r);
  }
  if (text.empty()) return ok("gpu load", "nobody else computes on the ranks' GPUs");
  return warning("gpu load", "another process computes already on " + text,
                 "nvidia-smi names it; a model needs the GPU's memory for itself");
}

int major_of(const std::string& version) {
  return std::atoi(version.c_str());
}

// CUDA's release notes, "minimum required driver version" for minor version compatibility on Linux.
const char* least_driver(int cuda_major) {
  if (cuda_major >= 13) return "580";
  return cuda_major == 12 ? "525" : "450";
}

}  // namespace

GpuFacts gpu_facts(int rank, const cluster::Place& place, DeviceRequest request, bool share_gpu,
                   const cluster::Environment& environment) {
  GpuFacts facts;
  facts.own = cluster::to_json(cluster::own_facts(rank, place, request, share_gpu, environment));
  facts.visible = environment("CUDA_VISIBLE_DEVICES").value_or("");
  if (request == DeviceRequest::cpu) return facts;
  const cluster::Nvml nvml(environment);
  facts.nvml = nvml.available();
  if (!facts.nvml) return facts;
  facts.driver = nvml.driver_version();
  facts.cuda = nvml.cuda_version();
  for (const auto& gpu : nvml.gpus()) {
    facts.seen.push_back(gpu.device.uuid);
    if (!gpu.mig_mode && !nvml.processes(gpu.device.uuid).empty()) facts.busy.push_back(gpu.device.uuid);
  }
  return facts;
}

GpuJudgement judge_gpus(const Places& places, const std::vector<Answer<GpuFacts>>& answers) {
  GpuJudgement out;
  out.findings = failures_of("gpus", places, answers, kDriverFix);
  if (!out.findings.empty()) return out;
  std::vector<RankFacts> ranks;
  for (const auto& answer : answers) ranks.push_back(cluster::rank_facts(answer.facts.own));
  const auto map = cluster::assign_gpus(ranks);
  if (!map.error.empty()) {
    out.findings.push_back(failure("gpus", map.error, map_fix(map.error)));
    return out;
  }
  out.devices = map.devices;
  out.sharing = map.sharing;
  if (map.devices.front() == "cpu") {
    out.findings.push_back(judge_no_gpu(places, answers, ranks.front().request));
    return out;
  }
  out.findings.push_back(ok("gpus", map_text(ranks, map.devices)));
  out.findings.push_back(judge_peers(places, answers, map.devices));
  out.findings.push_back(judge_busy(answers, map.devices));
  return out;
}

Finding judge_driver(const Places& places, const std::vector<Answer<GpuFacts>>& answers, const std::string& engine_cuda,
                     bool on_gpu) {
  if (!on_gpu) return not_checked("driver", "no GPU is to be used");
  if (engine_cuda.empty()) {
    return failure("driver", "nightreel-engine was built without CUDA",
                   "build it with NIGHTREEL_CUDA=ON, or pass --device cpu");
  }
  const int needed = major_of(engine_cuda);
  const auto old = ranks_where(answers, [&](const GpuFacts& f) { return f.cuda > 0 && f.cuda / 1000 < needed; });
  if (!old.empty()) {
    const auto& facts = answers[static_cast<std::size_t>(old.front())].facts;
    return failure("driver",
                   "driver " + facts.driver + " of " + names_of(places, old) + " speaks CUDA " +
                       version_text(facts.cuda) + ", nightreel-engine was built with " + engine_cuda,
                   std::string("install driver ") + least_driver(needed) + " or newer, or build with CUDA " +
                       std::to_string(facts.cuda / 1000));
  }
  const auto drivers = values_of(answers, [](const GpuFacts& f) { return f.driver; });
  if (differ(drivers)) {
    return warning("driver", "the hosts have different drivers: " + spread(places, drivers),
                   "install one driver on all hosts: the same job may differ in its last bits");
  }
  const int cuda = answers.front().facts.cuda;
  return ok("driver", drivers.front() + (cuda > 0 ? ", speaks CUDA " + version_text(cuda) : "") +
                          "; nightreel-engine was built with CUDA " + engine_cuda);
}

}  // namespace nightreel::doctor

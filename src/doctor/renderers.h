// What the renderers say of themselves: do they start on their GPUs, are they of one build, on CPUs of one capability?
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/probe_renderer.h"
#include "doctor/ranks.h"

namespace nightreel::doctor {

struct RendererFacts {
  std::string gpu_problem;  // why it runs on the CPU instead of its GPU; empty: it runs where it should
  std::map<std::string, std::string> versions;
  std::string cpu_capability;
  std::string device;  // "cpu", or the GPU's name
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RendererFacts, gpu_problem, versions, cpu_capability, device)

/// Starts it on `device`; where a GPU refuses, on the CPU, so that what needs no GPU can still be asked.
RendererFacts start_renderer(ProbeRenderer& renderer, const std::string& device, std::chrono::milliseconds limit);

/// `commit`: nightreel's own.
Findings judge_renderers(const Places& places, const std::vector<Answer<RendererFacts>>& answers,
                         const std::string& commit);

}  // namespace nightreel::doctor

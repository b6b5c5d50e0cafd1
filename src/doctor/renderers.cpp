#include "doctor/renderers.h"

#include <algorithm>

namespace nightreel::doctor {
namespace {

std::string version_of(const RendererFacts& facts, const std::string& library) {
  const auto found = facts.versions.find(library);
  return found == facts.versions.end() ? "" : found->second;
}

RendererFacts facts_of(const protocol::ReadyEvent& ready) {
  RendererFacts facts;
  for (const auto& [library, version] : ready.versions.items()) {
    if (version.is_string()) facts.versions[library] = base::printable(version.get<std::string>());
  }
  facts.cpu_capability = base::printable(ready.cpu_capability);
  facts.device = base::printable(ready.device);
  return facts;
}

// Libraries of which all hosts need the same version; what the ranks have, where they differ.
std::string differences(const Places& places, const std::vector<Answer<RendererFacts>>& answers) {
  std::string text;
  for (const char* library : {"nightreel", "commit", "libtorch", "cuda", "nccl"}) {
    const auto versions = values_of(answers, [&](const RendererFacts& f) { return version_of(f, library); });
    if (differ(versions)) text += (text.empty() ? "" : "; ") + std::string(library) + " " + spread(places, versions);
  }
  return text;
}

Finding judge_versions(const Places& places, const std::vector<Answer<RendererFacts>>& answers,
                       const std::string& commit) {
  const std::string different = differences(places, answers);
  if (!different.empty()) {
    return failure("engine", "the hosts have different engines: " + different, "install one build on all hosts");
  }
  const auto known = std::find_if(answers.begin(), answers.end(), [](const auto& a) { return a.has_facts(); });
  const std::string engine = version_of(known->facts, "commit");
  if (!engine.empty() && engine != commit) {
    return failure("engine", "nightreel (" + commit + ") and nightreel-engine (" + engine + ") are of two builds",
                   "install both from one build");
  }
  std::string text;
  for (const char* library : {"libtorch", "cuda", "nccl"}) {
    const std::string version = version_of(known->facts, library);
    if (!version.empty()) text += (text.empty() ? "" : ", ") + std::string(library) + " " + version;
  }
  return ok("engine", (text.empty() ? "starts" : text) + std::string(" on all ranks"));
}

Finding judge_capability(const Places& places, const std::vector<Answer<RendererFacts>>& answers) {
  const auto values = values_of(answers, [](const RendererFacts& f) { return f.cpu_capability; });
  if (differ(values)) {
    return warning(
        "cpu", "the hosts' CPUs differ: " + spread(places, values),
        "run on hosts of one kind where the same job shall give the same bytes, or set ATEN_CPU_CAPABILITY to "
        "the least of them on all and add --renderer-env ATEN_CPU_CAPABILITY");
  }
  const auto known = std::find_if(values.begin(), values.end(), [](const auto& value) { return !value.empty(); });
  return ok("cpu", *known + " on all ranks");
}

}  // namespace

RendererFacts start_renderer(ProbeRenderer& renderer, const std::string& device, std::chrono::milliseconds limit) {
  if (device == "cpu") return facts_of(renderer.start(device, limit));
  std::string gpu_problem;
  try {
    return facts_of(renderer.start(device, limit));
  } catch (const base::Error& e) {
    gpu_problem = device + ": " + e.what();
  }
  RendererFacts facts = facts_of(renderer.start("cpu", limit));
  facts.gpu_problem = gpu_problem;
  return facts;
}

Findings judge_renderers(const Places& places, const std::vector<Answer<RendererFacts>>& answers,
                         const std::string& commit) {
  Findings out = failures_of("engine", places, answers,
                             "nightreel-engine belongs beside nightreel, or in ../libexec/nightreel, with its "
                             "libraries: start `nightreel version` on that host");
  append(out, failures("engine", places, values_of(answers, [](const RendererFacts& f) { return f.gpu_problem; }),
                       "nvidia-smi on that host; see the driver line, and the GPU's compute mode and MIG"));
  const bool any = std::any_of(answers.begin(), answers.end(), [](const auto& a) { return a.has_facts(); });
  if (!any) return out;
  const Finding versions = judge_versions(places, answers, commit);
  if (out.empty() || versions.level == Level::failure) out.push_back(versions);
  out.push_back(judge_capability(places, answers));
  return out;
}

}  // namespace nightreel::doctor

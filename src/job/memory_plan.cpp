#include <algorithm>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/job/job_file.h"
#include "nightreel/job/memory.h"
#include "nightreel/job/resolve.h"

namespace nightreel::job {
namespace {

using Experts = MemoryPlan::Experts;

// Of a GPU, what no tensor gets: a context, cuBLAS and cuDNN with their workspaces, and the gaps that allocators leave.
// An assumption, not a measurement.
constexpr std::uint64_t kReserve = std::uint64_t{1} << 30U;
constexpr std::uint64_t kGaps = 25;  // one part in so many

std::uint64_t usable_of(std::uint64_t memory, bool gpu) {
  if (!gpu) return memory;
  const std::uint64_t taken = kReserve + memory / kGaps;
  return memory > taken ? memory - taken : 0;
}

bool is_expert(Part part) {
  return part == Part::transformer || part == Part::transformer_2;
}

bool needed(Part part, const std::string& stage) {
  if (stage == "text") return part == Part::text_encoder;
  if (stage == "picture") return part == Part::image_encoder || part == Part::vae;
  if (stage == "denoise") return is_expert(part);
  return part == Part::vae;
}

// Of several experts one at a time, unless all stay.
std::uint64_t weights_at(const MemoryModel& model, const MemoryPlan& plan, const std::string& stage) {
  std::uint64_t others = 0;
  std::uint64_t all_experts = 0;
  std::uint64_t one_expert = 0;
  for (const Part part : kParts) {
    if (is_expert(part)) {
      all_experts += model.of(part);
      one_expert = std::max(one_expert, model.of(part));
    } else if (plan.stays(part) || needed(part, stage)) {
      others += model.of(part);
    }
  }
  if (plan.experts == Experts::stay) return others + all_experts;
  if (plan.experts == Experts::take_turns || stage == "denoise") return others + one_expert;
  return others;
}

// Experts that take turns cross once for all videos of a wave; an encoder or a VAE that leaves, for each video anew.
std::uint64_t moved_bytes(const MemoryModel& model, const MemoryPlan& plan, bool picture) {
  std::uint64_t bytes = 0;
  for (const Part part : kParts) {
    if (plan.stays(part) || (part == Part::image_encoder && !picture)) continue;
    const std::uint64_t times = part == Part::vae && picture ? 2 : 1;
    bytes += times * model.of(part) / (is_expert(part) ? static_cast<std::uint64_t>(plan.wave()) : 1);
  }
  return bytes;
}

void fill_in(const MemoryModel& model, const Settings& settings, MemoryPlan& plan) {
  const Activations need = activations_of(model, settings, plan.tiled);
  const auto add = [&](const char* stage, std::uint64_t activations) {
    plan.stages.push_back({stage, weights_at(model, plan, stage), activations});
  };
  add("text", need.text);
  if (!settings.image.empty()) add("picture", need.picture);
  add("denoise", need.denoise());
  add("decode", need.decode);
  plan.host = model.host_weights;
  for (const Part part : kParts) plan.host += plan.stays(part) ? 0 : model.of(part);
  plan.moved = moved_bytes(model, plan, !settings.image.empty());
  plan.fits = plan.memory == 0 || plan.peak().bytes() <= plan.usable;
}

// From the plan that moves nothing to the one that holds least. Tiles come last: they cost half as much work again, and
// their seams are not the whole picture's numbers.
std::vector<MemoryPlan> choices(const MemoryModel& model, const Settings& settings, std::uint64_t memory) {
  MemoryPlan plan;
  plan.memory = memory;
  plan.usable = usable_of(memory, model.gpu);
  plan.two_experts = model.two_experts();
  std::vector<MemoryPlan> all;
  for (const Tiled tiled : {Tiled{false, false}, Tiled{false, true}, Tiled{true, false}, Tiled{true, true}}) {
    if (tiled.encode && settings.image.empty()) continue;
    plan.tiled = tiled;
    for (const Experts experts : {Experts::stay, Experts::take_turns, Experts::leave}) {
      if (experts == Experts::take_turns && !plan.two_experts) continue;
      plan.experts = experts;
      for (const bool encoders : {false, true}) {
        plan.encoders_leave = encoders;
        for (const bool vae : {false, true}) {
          plan.vae_leaves = vae;
          all.push_back(plan);
          fill_in(model, settings, all.back());
        }
      }
    }
  }
  return all;
}

std::int64_t tiles(const MemoryPlan& plan) {
  return (plan.tiled.encode ? 1 : 0) + (plan.tiled.decode ? 1 : 0);
}

}  // namespace

const MemoryPlan::Stage& MemoryPlan::peak() const {
  return *std::max_element(stages.begin(), stages.end(),
                           [](const Stage& a, const Stage& b) { return a.bytes() < b.bytes(); });
}

bool MemoryPlan::stays(Part part) const {
  if (part == Part::vae) return !vae_leaves;
  return is_expert(part) ? experts == Experts::stay : !encoders_leave;
}

MemoryPlan plan_memory(const MemoryModel& model, const Settings& settings, std::uint64_t memory) {
  const std::vector<MemoryPlan> all = choices(model, settings, memory);
  return *std::min_element(all.begin(), all.end(), [](const MemoryPlan& a, const MemoryPlan& b) {
    if (a.fits != b.fits) return a.fits;
    if (!a.fits && a.peak().bytes() != b.peak().bytes()) return a.peak().bytes() < b.peak().bytes();
    return tiles(a) != tiles(b) ? tiles(a) < tiles(b) : a.moved < b.moved;
  });
}

MemoryPlan fitting_plan(const DeviceMemory& memory, const Settings& settings) {
  const MemoryPlan plan = plan_memory(memory.model, settings, memory.bytes);
  if (plan.fits) return plan;
  std::string fitting;
  for (const auto& one : what_would_fit(memory.model, settings, memory.bytes))
    fitting += (fitting.empty() ? "" : ", or ") + one;
  throw base::Error(base::ErrorKind::job,
                    "memory: " + summary(plan, settings) + "; " +
                        (fitting.empty() ? "no size of this model's videos fits" : "what would fit: " + fitting));
}

void check_memory(const std::vector<Job>& jobs, const ModelCard& card, const Recipe& recipe,
                  const DeviceMemory& memory) {
  BadLines bad(JobFileLimits{}.shown);
  for (const auto& job : jobs) {
    try {
      fitting_plan(memory, resolve(job, card, recipe));
    } catch (const base::Error& e) {
      bad.add((job.origin.empty() ? "" : job.origin + ": ") + e.what());
    }
  }
  bad.check();
}

}  // namespace nightreel::job

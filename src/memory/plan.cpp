#include "nightreel/memory/plan.h"

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/memory/text.h"

namespace nightreel::memory {
namespace {

using settings::Settings;
using Experts = MemoryPlan::Experts;

// Of a GPU, what LibTorch's allocator never gets: its context with the libraries' kernels, NCCL's buffers. An
// assumption, not a measurement.
constexpr std::uint64_t kReserve = std::uint64_t{2} << 30U;

// What LibTorch's allocator takes beside the activations, in hundredths of them and in bytes. Counted with the
// allocator itself at the published models' sizes (docs/gpu.md): a VAE's tensors are of many sizes, a transformer's of
// few.
struct Gaps {
  std::uint64_t vae;
  std::uint64_t residual_vae;
  std::uint64_t others;
  std::uint64_t moving;  // more, of denoising, where experts come and go
  std::uint64_t bytes;
};
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr Gaps kGapsExpandable{14, 22, 6, 7, 568 * kMiB};
constexpr Gaps kGapsBlocks{65, 65, 35, 0, 224 * kMiB};
// Of weights that come and go, what blocks that cannot be joined leave unused.
constexpr std::uint64_t kMovingPart = 16;

std::uint64_t usable_of(std::uint64_t memory, bool gpu) {
  if (!gpu) return memory;
  return memory > kReserve ? memory - kReserve : 0;
}

std::uint64_t taken_for(const MemoryPlan& plan, const std::string& stage, std::uint64_t activations,
                        const MemoryModel& model) {
  if (model.allocator == Allocator::exact) return activations;
  const Gaps& gaps = model.allocator == Allocator::expandable ? kGapsExpandable : kGapsBlocks;
  const bool coding = stage == "picture" || stage == "decode";
  const std::uint64_t vae = model.vae.is_residual ? gaps.residual_vae : gaps.vae;
  const std::uint64_t others = gaps.others + (stage == "denoise" && plan.experts != Experts::stay ? gaps.moving : 0);
  return activations + activations / 100 * (coding ? vae : others) + gaps.bytes;
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

std::uint64_t gaps_of_moving(const MemoryModel& model, const MemoryPlan& plan, const std::string& stage) {
  if (model.allocator != Allocator::blocks) return 0;
  std::uint64_t others = 0;
  std::uint64_t expert = 0;
  for (const Part part : kParts) {
    if (plan.stays(part) || !needed(part, stage)) continue;
    is_expert(part) ? expert = std::max(expert, model.of(part)) : others += model.of(part);
  }
  return (others + expert) / kMovingPart;
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

bool fits_in(const MemoryPlan& plan, const DeviceMemory& memory) {
  if (memory.host_bytes > 0 && plan.moving > memory.host_bytes) return false;
  for (const MemoryPlan::Stage& stage : plan.stages) {
    const auto failed = memory.failed.find(stage.name);
    if (failed != memory.failed.end() && stage.bytes() >= failed->second) return false;
  }
  return plan.memory == 0 || plan.peak().bytes() <= plan.usable;
}

void fill_in(const DeviceMemory& memory, const Settings& settings, MemoryPlan& plan) {
  const MemoryModel& model = memory.model;
  const Activations need = activations_of(model, settings, plan.tiled);
  const auto add = [&](const char* stage, std::uint64_t activations) {
    const std::uint64_t taken = taken_for(plan, stage, activations, model) + gaps_of_moving(model, plan, stage);
    plan.stages.push_back({stage, weights_at(model, plan, stage), taken, activations});
  };
  add("text", need.text);
  if (!settings.image.empty()) add("picture", need.picture);
  add("denoise", need.denoise());
  add("decode", need.decode);
  for (const Part part : kParts) plan.moving += plan.stays(part) ? 0 : model.of(part);
  plan.host = model.host_weights + plan.moving;
  plan.moved = moved_bytes(model, plan, !settings.image.empty());
  plan.fits = fits_in(plan, memory);
}

// From the plan that moves nothing to the one that holds least. Tiles come last: they cost half as much work again, and
// their seams are not the whole picture's numbers.
std::vector<MemoryPlan> choices(const DeviceMemory& memory, const Settings& settings) {
  MemoryPlan plan;
  plan.memory = memory.bytes;
  plan.usable = usable_of(memory.bytes, memory.model.gpu);
  plan.two_experts = memory.model.two_experts();
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
          fill_in(memory, settings, all.back());
        }
      }
    }
  }
  return all;
}

std::int64_t tiles(const MemoryPlan& plan) {
  return (plan.tiled.encode ? 1 : 0) + (plan.tiled.decode ? 1 : 0);
}

bool is_better(const MemoryPlan& a, const MemoryPlan& b) {
  if (a.fits != b.fits) return a.fits;
  if (!a.fits && a.peak().bytes() != b.peak().bytes()) return a.peak().bytes() < b.peak().bytes();
  return tiles(a) != tiles(b) ? tiles(a) < tiles(b) : a.moved < b.moved;
}

// Where the GPU could take it all in turn, and the host has no room for what waits; else empty.
std::string host_problem(const DeviceMemory& memory, const Settings& settings) {
  if (memory.host_bytes == 0) return "";
  DeviceMemory roomy = memory;
  roomy.host_bytes = 0;
  const MemoryPlan plan = plan_memory(roomy, settings);
  if (!plan.fits) return "";
  return human_bytes(plan.moving) + " of weights would wait in the host's memory, which has " +
         human_bytes(memory.host_bytes) +
         " for each of its ranks: start fewer ranks on the host, or give it, or its container, more memory";
}

// A CPU's plan is the same whatever its host has, or its videos would not be: it is refused, not changed.
std::string cpu_problem(const DeviceMemory& memory, const MemoryPlan& plan) {
  if (memory.model.gpu || memory.host_bytes == 0 || plan.peak().bytes() <= memory.host_bytes) return "";
  return human_bytes(plan.peak().bytes()) + " are needed in stage " + plan.peak().name +
         ", and this host has, or a limit leaves, " + human_bytes(memory.host_bytes) +
         ": ask for a smaller video, or take a host with more memory";
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

std::uint64_t MemoryPlan::bytes_at(const std::string& stage) const {
  const auto found = std::find_if(stages.begin(), stages.end(), [&](const Stage& one) { return one.name == stage; });
  return found == stages.end() ? 0 : found->bytes();
}

MemoryPlan plan_memory(const DeviceMemory& memory, const Settings& settings) {
  const std::vector<MemoryPlan> all = choices(memory, settings);
  return *std::min_element(all.begin(), all.end(), is_better);
}

MemoryPlan plan_memory(const MemoryModel& model, const Settings& settings, std::uint64_t memory) {
  return plan_memory(DeviceMemory{model, memory}, settings);
}

std::optional<MemoryPlan> next_plan(const DeviceMemory& memory, const Settings& settings, const MemoryPlan& plan) {
  std::vector<MemoryPlan> all = choices(memory, settings);
  all.erase(
      std::remove_if(all.begin(), all.end(),
                     [&](const MemoryPlan& one) { return !one.fits || (one.tiled.encode && !plan.tiled.encode); }),
      all.end());
  if (all.empty()) return std::nullopt;
  return *std::min_element(all.begin(), all.end(), is_better);
}

MemoryPlan fitting_plan(const DeviceMemory& memory, const Settings& settings) {
  const MemoryPlan plan = plan_memory(memory, settings);
  if (const std::string why = cpu_problem(memory, plan); !why.empty()) {
    throw base::Error(base::ErrorKind::job, "memory: " + why);
  }
  if (plan.fits) return plan;
  if (const std::string why = host_problem(memory, settings); !why.empty()) {
    throw base::Error(base::ErrorKind::job, "memory: " + why);
  }
  std::string fitting;
  for (const auto& one : what_would_fit(memory.model, settings, memory.bytes))
    fitting += (fitting.empty() ? "" : ", or ") + one;
  throw base::Error(base::ErrorKind::job,
                    "memory: " + summary(plan, settings) + "; " +
                        (fitting.empty() ? "no size of this model's videos fits" : "what would fit: " + fitting));
}

}  // namespace nightreel::memory

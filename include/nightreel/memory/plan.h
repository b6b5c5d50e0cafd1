// Where a video's weights are while it is made: what stays on a GPU, takes turns or waits on the host where not all
// fits.
//
// Arithmetic over sizes, no tensor is touched: the renderer, its rank and `model info` come to the same plan. Plain
// values; any thread. A video that fits in no way is an Error{job} that says what would.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/memory/activations.h"
#include "nightreel/memory/model.h"
#include "nightreel/settings/settings.h"

namespace nightreel::memory {

/// Videos of a wave, at most: a swap costs a few seconds, a wave's leases that many videos.
inline constexpr std::int64_t kWave = 4;

/// Where weights are while a video is made.
struct MemoryPlan {
  enum class Experts {
    stay,        // all on the GPU, always
    take_turns,  // one of the two on the GPU, the other one on the host
    leave        // on the GPU while they denoise, one at a time
  };
  struct Stage {
    std::string name;  // text, picture, denoise, decode
    std::uint64_t weights = 0;
    std::uint64_t activations = 0;  // what is needed beside the weights, with what the allocator takes for it
    std::uint64_t tensors = 0;      // of that, the tensors' own
    std::uint64_t bytes() const { return weights + activations; }
  };

  std::uint64_t memory = 0;  // the device's; 0: no limit
  std::uint64_t usable = 0;  // of that, without what the driver and its libraries take
  bool fits = true;
  bool two_experts = false;
  bool encoders_leave = false;  // once prompts and pictures are encoded
  Experts experts = Experts::stay;
  bool vae_leaves = false;  // while others work
  Tiled tiled;
  std::vector<Stage> stages;
  std::uint64_t host = 0;  // bytes of weights in the host's memory
  std::uint64_t moving =
      0;                    // of these, the bytes of those that come and go, which wait in memory of the renderer's own
  std::uint64_t moved = 0;  // bytes that cross to the GPU for a video, one of a full wave where there are waves

  /// The stage that needs most.
  const Stage& peak() const;
  /// Bytes of a stage; 0 where the plan has no such one.
  std::uint64_t bytes_at(const std::string& stage) const;
  bool stays(Part part) const;
  /// How many videos had better be denoised in a wave: all their high-noise steps, one swap, all the others.
  std::int64_t wave() const { return two_experts && experts == Experts::take_turns ? kWave : 1; }
};

/// The plan that fits `memory` with whole pictures before tiles, and the least traffic. Where none fits, the one that
/// needs least, and `fits` false.
MemoryPlan plan_memory(const DeviceMemory& memory, const settings::Settings& settings);
/// The same for a device of so many bytes (0: no limit).
MemoryPlan plan_memory(const MemoryModel& model, const settings::Settings& settings, std::uint64_t memory);

/// What to go on with when `plan` has run out of memory in a stage, which `memory.failed` tells: the next one that
/// fits. None tiles the encoder where `plan` does not, since a video that has begun is not to be of two kinds. Nothing
/// where there is no such plan.
std::optional<MemoryPlan> next_plan(const DeviceMemory& memory, const settings::Settings& settings,
                                    const MemoryPlan& plan);

/// The same, where a plan must fit. Throws Error{job} "memory: …" that says what would fit.
MemoryPlan fitting_plan(const DeviceMemory& memory, const settings::Settings& settings);

}  // namespace nightreel::memory

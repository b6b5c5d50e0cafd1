// How much of a GPU's memory a video needs, and what stays there, takes turns or waits on the host where not all fits.
//
// Arithmetic over sizes, no tensor is touched: the renderer, its rank and `model info` come to the same plan. Plain
// values; any thread. Where the bytes come from is told in src/job/memory_estimate.cpp. JSON that is no MemoryModel is
// an Error{internal}, a job that fits in no way an Error{job} that says what would.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/job/job.h"
#include "nightreel/job/recipe.h"
#include "nightreel/settings/settings.h"

namespace nightreel::job {

/// The components whose weights move as one.
enum class Part { text_encoder, image_encoder, transformer, transformer_2, vae };
inline constexpr std::array<Part, 5> kParts{Part::text_encoder, Part::image_encoder, Part::transformer,
                                            Part::transformer_2, Part::vae};
/// The component's folder.
std::string_view name(Part part);

/// How tensors come by a device's memory, which says what they take beside their own bytes.
enum class Allocator {
  exact,       // a CPU: nothing that counts
  expandable,  // a GPU, in segments that grow (pipeline/gpu_memory.h): what tensors leave is of use to all others
  blocks       // a GPU, block by block, which LibTorch does by itself: free blocks cannot be joined
};
/// "none", "expandable_segments", "default".
std::string_view name(Allocator allocator);

/// A checkpoint as a renderer holds it, in the precision in which it computes.
struct MemoryModel {
  bool gpu = true;                              // the driver and its libraries take their share
  Allocator allocator = Allocator::expandable;  // exact where there is no GPU
  std::int64_t element_bytes = 2;  // of the transformer's and the encoders' activations; the VAE computes in float32
  bool both_prompts = false;       // prompt and negative prompt go through the transformer as one batch
  bool keep_keys = false;          // the cross-attention's keys and values of all blocks are kept
  std::optional<card::TransformerConfig> transformer;  // of each expert; absent, as those below: there is none
  card::VaeConfig vae;
  std::optional<card::Umt5Config> text;
  std::optional<card::ClipVisionConfig> clip;
  std::array<std::uint64_t, 5> weights{};  // bytes on the device by Part; 0: there is none
  std::uint64_t host_weights = 0;          // bytes that never leave the host: the token embedding
  std::uint64_t linear_weights = 0;        // numbers in the linear layers of one expert's blocks, which fp8 narrows
  std::uint64_t linear_rows = 0;           // their output channels, each of which has a scale then
  bool fp8_products = false;               // the device multiplies in fp8 (ops/quantised.h)
  std::uint64_t unpacked = 0;              // bytes of the largest fp8 layer, or of its input, while it is multiplied
  std::uint64_t block_weights = 0;         // bytes of one expert's blocks, which in_shards() deals out
  std::int64_t shards = 1;                 // ranks that the blocks are sharded over
  std::int64_t group = 1;  // ranks that render one video: they deal out its tokens, and rows of pictures not in tiles

  std::uint64_t of(Part part) const { return weights.at(static_cast<std::size_t>(part)); }
  /// Bytes of the blocks that are gathered from their shards at a time: the one that computes and the next.
  std::uint64_t gathered() const;
  bool two_experts() const { return of(Part::transformer) > 0 && of(Part::transformer_2) > 0; }
};

nlohmann::json to_json(const MemoryModel& model);
MemoryModel memory_model_from_json(const nlohmann::json& json);

/// The same with the linear layers of its blocks in fp8, where they are not already.
MemoryModel in_fp8(MemoryModel model);

/// The same as one of `ranks` holds it that its transformers' blocks are sharded over.
MemoryModel in_shards(MemoryModel model, std::int64_t ranks);

/// Bytes by stage (MemoryPlan::Stage).
using StageBytes = std::map<std::string, std::uint64_t>;

/// "decode=75000000000,denoise=…" and back. Throws Error{usage} for other text.
std::string to_text(const StageBytes& bytes);
StageBytes stage_bytes(const std::string& text);

/// A checkpoint on a device: what a renderer tells about itself, and what jobs are judged by.
struct DeviceMemory {
  MemoryModel model;
  std::uint64_t bytes = 0;       // 0: no limit, or not known
  StageBytes failed = {};        // plans that needed so much have run out of memory there: a plan needs less
  std::uint64_t host_bytes = 0;  // of the host, for weights that move, and on a CPU for all; 0: no limit, or not known
};

nlohmann::json to_json(const DeviceMemory& memory);
/// `null` is a device without a limit.
DeviceMemory device_memory_from_json(const nlohmann::json& json);

/// Bytes beside the weights while one video is made, stage by stage.
struct Activations {
  std::uint64_t text = 0;     // the text encoder's
  std::uint64_t picture = 0;  // of the VAE's encoder and the image encoder; 0 without a picture
  std::uint64_t blocks = 0;   // a pass through the transformer
  std::uint64_t keys = 0;     // of the cross-attention, where they are kept
  std::uint64_t latents = 0;  // and what a sampler remembers of them
  std::uint64_t decode = 0;
  std::uint64_t denoise() const { return blocks + keys + latents; }
};

/// Whether the VAE codes pictures in overlapping tiles (model::Tiling's sizes).
struct Tiled {
  bool encode = false;
  bool decode = false;
};

Activations activations_of(const MemoryModel& model, const settings::Settings& settings, const Tiled& tiled);

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

/// fitting_plan() for each job, as check_jobs() throws: a line "FILE:LINE: memory: …" for each that does not fit.
void check_memory(const std::vector<Job>& jobs, const card::Card& card, const Recipe& recipe,
                  const DeviceMemory& memory);

/// Settings and precisions near these that would fit, for people: "480x832", "49 frames", "--dtype fp8". May be empty.
std::vector<std::string> what_would_fit(const MemoryModel& model, const settings::Settings& settings,
                                        std::uint64_t memory);

/// For people, line by line: what lives where, when it moves, what each stage needs.
std::vector<std::string> describe(const MemoryModel& model, const MemoryPlan& plan, const settings::Settings& settings);
/// In one line, for logs.
std::string summary(const MemoryPlan& plan, const settings::Settings& settings);
/// For programs.
nlohmann::json to_json(const MemoryPlan& plan);

/// "23.5 GB": decimal, as GPUs and disks are sold.
std::string human_bytes(std::uint64_t bytes);

}  // namespace nightreel::job

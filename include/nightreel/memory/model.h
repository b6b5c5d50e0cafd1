// A checkpoint as a renderer holds it, in bytes: its weights, and what says how much computing with them takes.
//
// Plain values; any thread. JSON that is no MemoryModel is a base::Error{internal}.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "nightreel/card/configs.h"

namespace nightreel::memory {

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

}  // namespace nightreel::memory

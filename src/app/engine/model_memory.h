// The part of `model info` that tells what lives where on a GPU of some size.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/job/recipe.h"
#include "nightreel/memory/model.h"
#include "nightreel/render/video_maker.h"

namespace nightreel::app {

struct MemoryFlags {
  std::uint64_t gpu_memory = 0;  // 0: no limit
  std::string dtype = "auto";
  std::int64_t height = 0;  // 0, as for the others: the recipe's
  std::int64_t width = 0;
  std::int64_t num_frames = 0;

  void add_to(CLI::App& sub);
};

/// A plan for one video of the model, as lines for people and as JSON for programs. Sizes that the model does not do
/// throw base::Error{usage}.
struct MemoryAnswer {
  std::vector<std::string> lines;
  nlohmann::json json;
};
MemoryAnswer memory_answer(const MemoryFlags& flags, const card::Card& card, const job::Recipe& recipe);

/// What a renderer of this checkpoint with these options would tell about its device, without loading. Chooses the
/// device.
memory::DeviceMemory device_memory(const card::Card& card, const render::MakerOptions& options);

}  // namespace nightreel::app

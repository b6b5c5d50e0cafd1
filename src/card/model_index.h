// model_index.json: which parts a checkpoint has, and how they belong together.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace nightreel::card {

struct ModelIndex {
  std::vector<std::string> experts;  // folders of the transformers, the high-noise one first
  bool has_image_encoder = false;
  bool expand_timesteps = false;
  std::optional<double> boundary_ratio;
};

/// Of `folder`. Refuses what this version does not render, by the name of its class.
ModelIndex read_model_index(const std::string& folder);

}  // namespace nightreel::card

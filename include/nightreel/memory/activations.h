// What a video needs of a device's memory beside the weights, by the sizes of its tensors.
//
// Arithmetic: no tensor is touched. Plain values; any thread.
#pragma once

#include <cstdint>

#include "nightreel/memory/model.h"
#include "nightreel/settings/settings.h"

namespace nightreel::memory {

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

}  // namespace nightreel::memory

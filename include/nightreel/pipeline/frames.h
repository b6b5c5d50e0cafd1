// From latents to the frames of a video.
//
// Stateless; the thread that computes. Sizes that do not fit the VAE throw base::Error{job}.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace nightreel::comm {
class Communicator;
}
namespace nightreel::model {
class Vae;
}

namespace nightreel::pipeline {

/// Receives the video piece by piece, in order: uint8 [frames, height, width, 3], dense, on the CPU.
using FrameSink = std::function<void(const at::Tensor& frames_FHW3)>;

/// How the VAE goes about a video.
struct Coding {
  /// In overlapping tiles of model::Tiling's sizes, for a GPU that whole pictures do not fit; nothing arrives before
  /// all is decoded then.
  bool tiled = false;
  /// Whole pictures are shared by the ranks of a group, which all make the same call; null: alone.
  comm::Communicator* group = nullptr;
};

/// Latents [C, F, Y, X], normalised, to round(clamp(x/2 + 0.5, 0, 1) * 255). All ranks of a group get all frames.
void decode_frames(const model::Vae& vae, const at::Tensor& latents_CFYX, const Coding& coding, const FrameSink& sink);

}  // namespace nightreel::pipeline

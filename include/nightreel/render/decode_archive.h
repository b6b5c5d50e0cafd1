// Archived latents to a video again, without denoising.
//
// Plain function; one thread. Errors are those of the layers below; Error{model} where the model is not to be found.
#pragma once

#include <cstdint>
#include <string>

#include "nightreel/media/video.h"

namespace nightreel::render {

struct DecodeOptions {
  std::string archive;
  std::string output;  // replaced, whole
  std::string model;   // empty: the folder that the archive names
  std::string device = "auto";
  int threads = 2;
  std::uint64_t gpu_memory = 0;  // bytes to plan with; 0: what the GPU has, no limit on a CPU
  media::VideoOptions video;     // fps 0: the archive's
};

void decode_archive(const DecodeOptions& options);

}  // namespace nightreel::render

// Archived latents to a video again, without denoising.
//
// Plain function; one thread. Errors are those of the layers below; Error{model} where the model is not to be found.
#pragma once

#include <string>

#include "nightreel/media/video.h"
#include "nightreel/protocol/engine_options.h"

namespace nightreel::render {

struct DecodeOptions {
  std::string archive;
  std::string output;  // replaced, whole
  protocol::EngineOptions
      engine;                 // its device, threads, gpu_memory and model; no model: the one that the archive names
  media::VideoOptions video;  // fps 0: the archive's
};

void decode_archive(const DecodeOptions& options);

}  // namespace nightreel::render

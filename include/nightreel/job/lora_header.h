// Whether a file can be a LoRA file at all: its header, before anything that takes minutes begins.
//
// Plain function; any thread. What the tensors are called and whether they fit a model is the renderer's to say.
#pragma once

#include <string>

namespace nightreel::job {

/// Reads the header of a safetensors file (tensorfile/safetensors.h). A folder is let through.
/// Throws Error{job} "PATH: reason".
void check_lora_header(const std::string& path);

}  // namespace nightreel::job

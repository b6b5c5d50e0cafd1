// The files that jobs name: where they are, and whether they may be read.
#pragma once

#include <string>

#include "nightreel/job/job.h"

namespace nightreel::job {

/// `written` as an absolute path without symbolic links, of a file that exists and may be read. Throws Error{job} with
/// the reason alone. What lies outside rules.input_root is refused before anything tells whether it exists.
std::string resolve_input(const std::string& written, const PathRules& rules);

/// The same of a LoRA: a folder that peft's save_pretrained wrote stands for its adapter_model.safetensors.
std::string resolve_lora(const std::string& written, const PathRules& rules);

}  // namespace nightreel::job

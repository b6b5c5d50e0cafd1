// Which layout of checkpoint a path is.
#pragma once

#include <string>

namespace nightreel::job {

/// Throws Error{model} that names what `path` is instead, and the fix, unless it is a folder with a model_index.json.
void require_diffusers_folder(const std::string& path);

}  // namespace nightreel::job

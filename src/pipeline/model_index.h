// What model_index.json says about a checkpoint's transformers.
#pragma once

#include <string>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::pipeline {

/// The folders of the transformers that it names, the high-noise one first. diffusers' WanPipeline lets either be null
/// (its _optional_components). Throws Error{model} where there is none; `path` is named in it.
inline std::vector<std::string> experts_of(const base::Json& index, const std::string& path) {
  std::vector<std::string> experts;
  for (const std::string component : {"transformer", "transformer_2"}) {
    const base::Json entry = index.value(component, base::Json());
    if (entry.is_array() && !entry.empty() && !entry[0].is_null()) experts.push_back(component);
  }
  if (!experts.empty()) return experts;
  throw base::Error(base::ErrorKind::model, path + ": transformer: is missing, and so is transformer_2");
}

}  // namespace nightreel::pipeline

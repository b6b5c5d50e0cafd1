// JSON as Python writes it: with Infinity and NaN, which JSON does not have.
#pragma once

#include <cstddef>
#include <string>

#include "nightreel/base/json.h"

namespace nightreel::card {

/// base::read_json(), with null for such numbers: DPMSolverMultistepScheduler's lambda_min_clipped is -Infinity.
base::Json read_python_json(const std::string& path, std::size_t limit);

}  // namespace nightreel::card

// Stored types as LibTorch's.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>

#include "nightreel/weights/tensor_file.h"

namespace nightreel::weights {

/// Nothing for a type whose tensors this program does not make.
std::optional<at::ScalarType> scalar_type(StoredType type);

}  // namespace nightreel::weights

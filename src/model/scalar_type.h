// Stored types as LibTorch's.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>

#include "nightreel/model/tensor_file.h"

namespace nightreel::model {

/// Nothing for a type whose tensors this program does not make.
std::optional<at::ScalarType> scalar_type(StoredType type);

}  // namespace nightreel::model

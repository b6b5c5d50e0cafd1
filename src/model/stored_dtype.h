// The dtypes of stored tensors, by safetensors' names.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace nightreel::model {

struct StoredDtype {
  const char* name;
  std::uint64_t bytes;
  std::optional<at::ScalarType> type;  // none: known to the format, not read by this program
};

/// Null for a name that the format does not know.
const StoredDtype* find_dtype(std::string_view name);
/// Of a tensor that this program writes: float32, bfloat16, float16, float8_e4m3fn.
const StoredDtype& dtype_of(at::ScalarType type);

}  // namespace nightreel::model

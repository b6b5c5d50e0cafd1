// Small things that files of this layer share about tensors: their bytes, sizes rounded up, shapes as messages name
// them.
//
// Plain functions; any thread.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace nightreel::weights {

inline std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// The tensor's numbers as one row of uint8, without a copy where they are dense.
inline at::Tensor as_bytes(const at::Tensor& tensor) {
  return tensor.contiguous().view({-1}).view(at::kByte);
}

/// "[2, 3, 4]".
inline std::string shape_text(at::IntArrayRef shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

}  // namespace nightreel::weights

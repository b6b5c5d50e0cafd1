// The CUDA side of apply_rotary; only rotary.cpp calls it.
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::ops {

/// As apply_rotary, for dense CUDA tensors of float32, float16 or bfloat16, on the current stream of x's device.
/// Throws base::Error{device} when the launch fails.
at::Tensor apply_rotary_cuda(const at::Tensor& x_BSHD, const at::Tensor& table_SP2);

}  // namespace nightreel::ops

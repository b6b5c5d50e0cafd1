// A device for tests that finds tensors on the wrong device without a GPU.
//
// LibTorch's PrivateUse1 key over host memory: each operation first refuses tensors of another device (numbers in
// tensors without dimensions are allowed, as on CUDA) and then computes on the CPU. What runs here and gives the CPU's
// numbers mixes no devices. Call checked_device() once before use; any thread after that.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>

namespace nightreel::test {

/// Registers the device's allocator and hooks at the first call.
c10::Device checked_device();

/// Bytes of the tensors that live on it.
std::size_t checked_device_bytes();

}  // namespace nightreel::test

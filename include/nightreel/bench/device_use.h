// What a piece makes of the device beside its time: memory, the attention kernel, and the rate to hold its own against.
//
// A GPU is device 0 of the process, which has one allocator; on a CPU nothing is done and nothing known. One thread.
// Errors are LibTorch's (c10::Error): a device that fails or has no room.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace nightreel::bench {

/// Peaks of LibTorch's allocator, in bytes: of tensors, and of what it has taken from the driver for them.
struct MemoryUse {
  std::uint64_t allocated = 0;
  std::uint64_t reserved = 0;
};

/// Gives what tensors have left back to the driver, and counts peaks from now on.
void forget_peaks(at::Device device);

/// Since forget_peaks(); none on a CPU.
std::optional<MemoryUse> peak_memory(at::Device device);

/// Waits until everything is done that was asked of the device.
void synchronise(at::Device device);

/// Attention of a module to itself: queries [1, heads, tokens, head_dim], and as many keys.
struct AttentionShape {
  std::int64_t heads = 0;
  std::int64_t tokens = 0;
  std::int64_t head_dim = 0;
  at::ScalarType dtype = at::kFloat;
  bool biased = false;  // a bias for each query and key
};

/// The kernel that LibTorch chooses for it: "cudnn", "flash", "efficient" or "math"; none on a CPU. The queries are
/// there meanwhile.
std::optional<std::string> attention_kernel(const AttentionShape& shape, at::Device device);

/// 10^12 operations a second of one large product of square matrices; none on a CPU. Takes less than a second and, in
/// bfloat16, 400 MB, which it gives back.
std::optional<double> matmul_tflops(at::Device device, at::ScalarType dtype);

}  // namespace nightreel::bench

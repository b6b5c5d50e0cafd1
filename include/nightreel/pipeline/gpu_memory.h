// How LibTorch takes a GPU's memory, and how much of it there is.
//
// By default LibTorch asks the driver for a block a tensor size and cannot join free blocks: what the denoiser has left
// is then of no use to the decoder. With expandable segments (PYTORCH_ALLOC_CONF) it reserves addresses and maps memory
// behind them, so that free memory is in one piece. Changes the process, which has one allocator; a GPU is device 0 of
// it. Any thread; on a CPU nothing is done and nothing is known. And how much of the host's memory there is for weights
// that leave the GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "nightreel/memory/model.h"

namespace nightreel::pipeline {

/// `conf`, what a user has in PYTORCH_ALLOC_CONF, with expandable segments; none: it says already how memory is taken.
std::optional<std::string> with_expandable_segments(const std::string& conf);

/// Has memory taken in expandable segments, unless the user's PYTORCH_ALLOC_CONF or PYTORCH_CUDA_ALLOC_CONF says
/// otherwise, where the driver has virtual memory management and a first allocation succeeds. To be called before the
/// first tensor on the GPU.
void choose_allocator(at::Device device);

/// How memory is taken now.
memory::Allocator allocator_of(at::Device device);

/// Gives back to the driver what tensors have left, where it would be of no use to tensors of another size.
void release_unused(at::Device device);

/// Likewise whatever the allocator is: before work is tried again that has run out of memory.
void release_all_unused(at::Device device);

/// Bytes of the GPU that are free or this process's already, in whole GiB: what leftovers of other processes take is
/// not there to plan with, and small differences shall not make other plans. 0 on a CPU.
std::uint64_t memory_to_plan_with(at::Device device);

/// Bytes of the host that one of `renderers`, which all begin now, may take: nine tenths of what is available by the
/// kernel's word and by the limits of this process's cgroups, in equal shares. 0: not known. `root`: where /proc and
/// /sys are, for tests.
std::uint64_t host_memory_for(int renderers, const std::string& root = "");

/// The most that this process could ever have: the host's memory, the limits of its cgroups, ulimit -v. Other than what
/// is available it does not change while others work. 0: not known.
std::uint64_t host_memory_limit(const std::string& root = "");

}  // namespace nightreel::pipeline

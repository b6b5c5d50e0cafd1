// Which device a renderer computes on. Changes the process: the GPU is chosen by CUDA_VISIBLE_DEVICES, which CUDA reads
// once, so this comes before anything that touches CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "nightreel/protocol/message.h"

namespace nightreel::render {

/// "auto" (a GPU where there is one), "cpu", "cuda", "cuda:GPU-<uuid>" or "cuda:MIG-<uuid>". Throws Error{environment}
/// where the GPU is not there or this build has no CUDA, Error{usage} for other words.
at::Device choose_device(const std::string& text);

/// "auto", "bf16", "f32". Throws Error{usage}; fp8 is refused by name.
at::ScalarType choose_dtype(const std::string& text, at::Device device);

/// Fills device, device_uuid, memory_bytes, cpu_capability, threads and versions.
void describe_device(at::Device device, protocol::ReadyEvent& facts);

/// LibTorch, CUDA and NCCL as compiled in, compute capabilities, CPU capability: what `version` and `probe` tell.
protocol::Json engine_versions();

}  // namespace nightreel::render

// Which device and which precision a process computes in, and what it computes with. Changes the process: the GPU is
// chosen by CUDA_VISIBLE_DEVICES, which CUDA reads once, so this comes before anything that touches CUDA; how its
// memory is taken is chosen too (gpu_memory.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>
#include <string>

namespace nightreel::pipeline {

/// "auto" (a GPU where there is one), "cpu", "cuda", "cuda:GPU-<uuid>" or "cuda:MIG-<uuid>". Throws Error{environment}
/// where the GPU is not there or this build has no CUDA, Error{usage} for other words.
at::Device choose_device(const std::string& text);

/// In which to compute: "auto" (bfloat16 on a GPU, float32 on a CPU), "bf16", "f32", or "fp8", which is about weights
/// and computes as auto. Throws Error{usage}.
at::ScalarType choose_dtype(const std::string& text, at::Device device);

/// Whether the transformers' weights are held in fp8.
bool holds_fp8(const std::string& dtype);

/// nightreel, LibTorch, CUDA and NCCL as compiled in, compute capabilities, CPU capability.
nlohmann::json compute_versions();

}  // namespace nightreel::pipeline

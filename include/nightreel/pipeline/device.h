// Which device and which precision a process computes in, and what it computes with. Changes the process: the GPU is
// chosen by CUDA_VISIBLE_DEVICES, which CUDA reads once, so this comes before anything that touches CUDA.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>
#include <string>

namespace nightreel::pipeline {

/// "auto" (a GPU where there is one), "cpu", "cuda", "cuda:GPU-<uuid>" or "cuda:MIG-<uuid>". Throws Error{environment}
/// where the GPU is not there or this build has no CUDA, Error{usage} for other words.
at::Device choose_device(const std::string& text);

/// "auto", "bf16", "f32". Throws Error{usage}; fp8 is refused by name.
at::ScalarType choose_dtype(const std::string& text, at::Device device);

/// nightreel, LibTorch, CUDA and NCCL as compiled in, compute capabilities, CPU capability.
nlohmann::json compute_versions();

}  // namespace nightreel::pipeline

#include "nightreel/pipeline/device.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <cstdlib>

#include "nightreel/base/build_version.h"
#include "nightreel/base/error.h"
#include "nightreel/pipeline/gpu_memory.h"

#ifdef NIGHTREEL_CUDA
#include <ATen/cuda/CUDAContextLight.h>

#include "nightreel/comm/communicator.h"
#endif

namespace nightreel::pipeline {

using base::Error;
using base::ErrorKind;

at::Device choose_device(const std::string& text) {
  if (text == "cpu") return at::kCPU;
  const bool named = text.rfind("cuda:GPU-", 0) == 0 || text.rfind("cuda:MIG-", 0) == 0;
  if (!named && text != "auto" && text != "cuda") {
    throw Error(ErrorKind::usage,
                "--device: '" + base::printable(text) + "' is none of auto, cpu, cuda, cuda:GPU-<uuid>");
  }
  if (named) ::setenv("CUDA_VISIBLE_DEVICES", text.substr(5).c_str(), 1);
  if (at::hasCUDA()) {
    const at::Device gpu(at::kCUDA, 0);
    choose_allocator(gpu);
    return gpu;
  }
  if (text == "auto") return at::kCPU;
#ifdef NIGHTREEL_CUDA
  throw Error(ErrorKind::environment, "--device " + base::printable(text) + ": CUDA finds no such GPU on this host");
#else
  throw Error(ErrorKind::environment, "--device " + base::printable(text) + ": this build has no CUDA");
#endif
}

at::ScalarType choose_dtype(const std::string& text, at::Device device) {
  if (text == "auto" || holds_fp8(text)) return device.is_cuda() ? at::kBFloat16 : at::kFloat;
  if (text == "bf16") return at::kBFloat16;
  if (text == "f32") return at::kFloat;
  throw Error(ErrorKind::usage, "--dtype: '" + base::printable(text) + "' is none of auto, bf16, f32, fp8");
}

bool holds_fp8(const std::string& dtype) {
  return dtype == "fp8";
}

nlohmann::json compute_versions() {
  nlohmann::json versions{{"nightreel", base::kVersion},
                          {"commit", base::kCommit},
                          {"libtorch", TORCH_VERSION},
                          {"cpu_capability", at::get_cpu_capability()}};
#ifdef NIGHTREEL_CUDA
  versions["cuda"] = std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  versions["cuda_architectures"] = NIGHTREEL_CUDA_ARCHITECTURES;
  versions["nccl"] = comm::nccl_version();
#endif
  return versions;
}

}  // namespace nightreel::pipeline

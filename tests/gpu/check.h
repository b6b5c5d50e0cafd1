// What gpu_proof is made of: comparisons of CUDA with the CPU of the same run, each of which gives numbers and limits.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace nightreel::proof {

/// A number that was measured, and how large it may be.
struct Measured {
  std::string what;  // "largest", "mean, of the CPU's own"
  double deviation = 0;
  double limit = 0;
};

struct Check {
  std::string name;   // of the kernel, the module or the way through a pipeline
  std::string dtype;  // f32, bf16, f16, fp8, tf32
  std::string size;   // "1x33x12x64", where there is one after the model's name
  bool quick = false;
  std::function<std::vector<Measured>()> run;
};

/// Where models are: those of this repository, and a folder for the random ones.
struct Places {
  std::string models;
  std::string random;
};

void add_kernels(std::vector<Check>& checks);
void add_modules(std::vector<Check>& checks, const Places& places);
void add_pipelines(std::vector<Check>& checks, const Places& places);

/// The GPU that the process sees.
inline const at::Device kGpu(at::kCUDA, 0);

/// "f32", "bf16", "f16".
std::string name_of(at::ScalarType dtype);
/// "1x33x12x64".
std::string text_of(at::IntArrayRef sizes);

/// max |there - here| / max |here|; infinite where shapes differ or something is not finite.
Measured largest(const at::Tensor& there, const at::Tensor& here, double limit);

/// Sixteen bits against sixteen bits: `there` is held to be right where it is no further from `exact` (float32, the
/// CPU's) than the CPU's own sixteen bits `here` are, 1.25 times in the mean and 1.5 times at most.
std::vector<Measured> as_near(const at::Tensor& there, const at::Tensor& here, const at::Tensor& exact);

/// The same for weights in fp8, at three times the limits: a GPU rounds what it multiplies with them to fp8 too, which
/// is as much again a product, and more where two prompts' difference is scaled up.
std::vector<Measured> as_near_in_fp8(const at::Tensor& there, const at::Tensor& here, const at::Tensor& exact);

/// float32 within `limit`, sixteen bits as_near(). `run` computes on a device in a dtype, on the same numbers each
/// time.
using Run = std::function<at::Tensor(at::Device, at::ScalarType)>;
std::vector<Measured> compare(at::ScalarType dtype, double limit, const Run& run);

/// Whether matrix products and convolutions in float32 may be rounded to TF32.
void allow_tf32(bool allowed);

}  // namespace nightreel::proof

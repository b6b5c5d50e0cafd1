#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gpu/check.h"

namespace nightreel::proof {

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

double finite(double value) {
  return std::isfinite(value) ? value : kInfinite;
}

struct Gap {
  double mean = kInfinite;
  double most = kInfinite;
};

Gap gap(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.numel() == 0) return {};
  const at::Tensor error = (a.to(at::kCPU, at::kDouble) - b.to(at::kCPU, at::kDouble)).abs();
  return {finite(error.mean().item<double>()), finite(error.max().item<double>())};
}

}  // namespace

std::string name_of(at::ScalarType dtype) {
  if (dtype == at::kFloat) return "f32";
  return dtype == at::kHalf ? "f16" : "bf16";
}

std::string text_of(at::IntArrayRef sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

Measured largest(const at::Tensor& there, const at::Tensor& here, double limit) {
  const double size = here.to(at::kCPU, at::kDouble).abs().max().item<double>();
  const double error = gap(there, here).most;
  return {"largest", error == 0 ? 0 : finite(error / size), limit};
}

std::vector<Measured> as_near(const at::Tensor& there, const at::Tensor& here, const at::Tensor& exact) {
  // What the CPU computes without an error at all may still be off by a rounding of float32.
  const double least = 1e-6 * exact.to(at::kCPU, at::kDouble).abs().max().item<double>();
  const Gap own = gap(here, exact);
  const Gap theirs = gap(there, exact);
  return {{"mean, of the CPU's own", finite(theirs.mean / std::max(own.mean, least)), 1.25},
          {"largest, of the CPU's own", finite(theirs.most / std::max(own.most, least)), 1.5}};
}

std::vector<Measured> as_near_in_fp8(const at::Tensor& there, const at::Tensor& here, const at::Tensor& exact) {
  std::vector<Measured> all = as_near(there, here, exact);
  for (Measured& one : all) one.limit *= 3;
  return all;
}

std::vector<Measured> compare(at::ScalarType dtype, double limit, const Run& run) {
  const at::Tensor exact = run(at::kCPU, at::kFloat);
  if (dtype == at::kFloat) return {largest(run(kGpu, dtype), exact, limit)};
  return as_near(run(kGpu, dtype), run(at::kCPU, dtype), exact);
}

void allow_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed);
  at::globalContext().setAllowTF32CuDNN(allowed);
}

}  // namespace nightreel::proof

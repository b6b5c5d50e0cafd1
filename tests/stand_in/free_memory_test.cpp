// How much memory a GPU is planned with, beside what others hold of it.
#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <doctest/doctest.h>

#include "nightreel/pipeline/gpu_memory.h"

using namespace nightreel;

namespace {

const at::Device kPlannedGpu(at::kCUDA, 0);  // a name of its own: unity builds
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

std::uint64_t free_on_card() {
  std::size_t free = 0;
  std::size_t total = 0;
  CHECK((cudaMemGetInfo(&free, &total) == cudaSuccess));
  return free;
}

void others_hold(std::uint64_t bytes) {
  void* found = ::dlsym(RTLD_DEFAULT, "stand_in_others_hold");
  REQUIRE(found != nullptr);
  reinterpret_cast<void (*)(std::uint64_t)>(found)(bytes);
}

}  // namespace

TEST_CASE("a GPU is planned with what is free of it, in whole GiB") {
  const std::uint64_t alone = pipeline::memory_to_plan_with(kPlannedGpu);
  CHECK(alone % kGiB == 0);
  CHECK(alone > 0);
  others_hold(5 * kGiB + kGiB / 2);
  const std::uint64_t beside = pipeline::memory_to_plan_with(kPlannedGpu);
  others_hold(0);
  CHECK(beside % kGiB == 0);
  CHECK(beside < alone - 4 * kGiB);
  CHECK(beside >= alone - 6 * kGiB);
}

TEST_CASE("what the process itself has taken counts as free: a plan covers it") {
  const std::uint64_t before = pipeline::memory_to_plan_with(kPlannedGpu);
  const std::uint64_t free = free_on_card();
  const at::Tensor held = at::empty({3 << 28}, at::TensorOptions(at::kByte).device(kPlannedGpu));
  CHECK(free_on_card() < free);
  CHECK(pipeline::memory_to_plan_with(kPlannedGpu) == before);
}

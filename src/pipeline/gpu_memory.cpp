#include "nightreel/pipeline/gpu_memory.h"

#include <ATen/ATen.h>

#include <cstdlib>

#ifdef NIGHTREEL_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <cuda.h>
#include <cuda_runtime_api.h>
#endif

namespace nightreel::pipeline {

std::optional<std::string> with_expandable_segments(const std::string& conf) {
  for (const char* said : {"expandable_segments", "backend"}) {
    if (conf.find(said) != std::string::npos) return std::nullopt;
  }
  return conf + (conf.empty() ? "" : ",") + "expandable_segments:True";
}

#ifdef NIGHTREEL_CUDA

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;
using c10::CachingAllocator::AcceleratorAllocatorConfig;

constexpr std::int64_t kFirst = 64 << 20;  // bytes: several of the driver's pages
constexpr unsigned kDriverVersion = 12000;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

std::string users_conf() {
  for (const char* name : {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}) {  // in LibTorch's order
    if (const char* value = std::getenv(name); value != nullptr) return value;
  }
  return "";
}

template <typename Function>
Function* driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  const auto code = cudaGetDriverEntryPointByVersion(name, &found, kDriverVersion, cudaEnableDefault, &result);
  const bool is_there = code == cudaSuccess && result == cudaDriverEntryPointSuccess;
  return is_there ? reinterpret_cast<Function*>(found) : nullptr;
}

bool driver_maps_memory(int device) {
  const auto get = driver_function<CUresult(CUdevice*, int)>("cuDeviceGet");
  const auto ask = driver_function<CUresult(int*, CUdevice_attribute, CUdevice)>("cuDeviceGetAttribute");
  CUdevice found = 0;
  int supported = 0;
  return get != nullptr && ask != nullptr && get(&found, device) == CUDA_SUCCESS &&
         ask(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, found) == CUDA_SUCCESS &&
         supported != 0;
}

bool first_allocation_succeeds(at::Device device) {
  try {
    at::empty({kFirst}, at::TensorOptions(at::kByte).device(device));
  } catch (const c10::Error&) {
    static_cast<void>(cudaGetLastError());  // or a later call is blamed for it
    return false;
  }
  return true;
}

}  // namespace

void choose_allocator(at::Device device) {
  if (!device.is_cuda() || AcceleratorAllocatorConfig::use_expandable_segments()) return;
  const std::string conf = users_conf();
  const auto expandable = with_expandable_segments(conf);
  if (!expandable || !driver_maps_memory(device.index())) return;
  c10::CachingAllocator::setAllocatorSettings(*expandable);
  const bool works = first_allocation_succeeds(device);
  if (!works) {
    c10::CachingAllocator::setAllocatorSettings(conf + (conf.empty() ? "" : ",") + "expandable_segments:False");
  }
  release_all_unused(device);
}

memory::Allocator allocator_of(at::Device device) {
  if (!device.is_cuda()) return memory::Allocator::exact;
  return AcceleratorAllocatorConfig::use_expandable_segments() ? memory::Allocator::expandable
                                                               : memory::Allocator::blocks;
}

void release_unused(at::Device device) {
  if (allocator_of(device) == memory::Allocator::blocks) release_all_unused(device);
}

void release_all_unused(at::Device device) {
  if (device.is_cuda()) allocator::emptyCache();
}

std::uint64_t memory_to_plan_with(at::Device device) {
  if (!device.is_cuda()) return 0;
  at::globalContext().lazyInitDevice(at::kCUDA);  // what its context takes is not free
  const std::uint64_t free = allocator::get()->getMemoryInfo(device.index()).first;
  const auto ours = allocator::getDeviceStats(device.index()).reserved_bytes.front().current;
  return (free + static_cast<std::uint64_t>(ours)) / kGiB * kGiB;
}

#else

void choose_allocator(at::Device /*device*/) {}

memory::Allocator allocator_of(at::Device /*device*/) {
  return memory::Allocator::exact;
}

void release_unused(at::Device /*device*/) {}

void release_all_unused(at::Device /*device*/) {}

std::uint64_t memory_to_plan_with(at::Device /*device*/) {
  return 0;
}

#endif

}  // namespace nightreel::pipeline

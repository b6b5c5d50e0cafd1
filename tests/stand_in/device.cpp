// What the stand-in GPU says of itself: one device, an H100 by its numbers, whose driver knows CUDA 13.0.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "stand_in/gpu.h"

using namespace nightreel::stand_in;

namespace {

constexpr int kMajor = 9;
constexpr int kProcessors = 132;
constexpr int kThreadsABlock = 1024;
constexpr int kThreadsAProcessor = 2048;
constexpr int kSharedABlock = 232448;  // with cudaFuncAttributeMaxDynamicSharedMemorySize
constexpr int kCuda = 13000;

}  // namespace

STAND_IN_API cudaError_t cudaGetDeviceCount(int* devices) {
  *devices = 1;
  return broken();
}

// These two of a broken GPU, too: LibTorch's guards call them while an error is under way.
STAND_IN_API cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

STAND_IN_API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int) {
  STAND_IN_UNLESS_BROKEN();
  *out = {};
  std::snprintf(out->name, sizeof out->name, "Stand-in GPU");
  out->totalGlobalMem = memory_use().card;
  out->major = kMajor;
  out->multiProcessorCount = kProcessors;
  out->warpSize = 32;
  out->maxThreadsPerBlock = kThreadsABlock;
  out->maxThreadsPerMultiProcessor = kThreadsAProcessor;
  out->maxBlocksPerMultiProcessor = 32;
  out->sharedMemPerBlock = 49152;
  out->sharedMemPerBlockOptin = kSharedABlock;
  out->sharedMemPerMultiprocessor = 233472;
  out->regsPerBlock = out->regsPerMultiprocessor = 65536;
  out->maxThreadsDim[0] = out->maxThreadsDim[1] = kThreadsABlock;
  out->maxThreadsDim[2] = 64;
  out->maxGridSize[0] = 2147483647;
  out->maxGridSize[1] = out->maxGridSize[2] = 65535;
  out->l2CacheSize = 50 << 20;
  out->textureAlignment = 512;
  out->memPitch = 2147483647;
  out->totalConstMem = 65536;
  out->concurrentKernels = 1;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  STAND_IN_UNLESS_BROKEN();
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = kMajor;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = kProcessors;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kSharedABlock;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = kThreadsABlock;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = kThreadsAProcessor;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = 2147483647;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *value = 65535;
      break;
    default:
      *value = 0;
  }
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaDriverGetVersion(int* version) {
  *version = kCuda;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kCuda;
  return cudaSuccess;
}

STAND_IN_API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return broken();
}

STAND_IN_API cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int) {
  std::snprintf(text, static_cast<std::size_t>(size), "0000:01:00.0");
  return broken();
}

STAND_IN_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int threads,
                                                                                std::size_t, unsigned) {
  *blocks = std::clamp(kThreadsAProcessor / std::max(threads, 1), 1, 32);
  return broken();
}

STAND_IN_API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                                       std::size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, kernel, threads, shared, 0);
}

STAND_IN_API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void*) {
  *out = {};
  out->maxThreadsPerBlock = kThreadsABlock;
  out->numRegs = 32;
  out->binaryVersion = out->ptxVersion = 10 * kMajor;
  out->maxDynamicSharedSizeBytes = 49152;
  return broken();
}

STAND_IN_API cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return broken();
}

STAND_IN_API cudaError_t cudaGetSymbolAddress(void** address, const void*) {
  static char nowhere[1 << 16];
  *address = static_cast<char*>(nowhere);
  return broken();
}

STAND_IN_API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                                          unsigned long long, cudaDriverEntryPointQueryResult* result) {
  *function = driver_function(name);
  if (result != nullptr) {
    *result = *function == nullptr ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
  }
  return broken();
}

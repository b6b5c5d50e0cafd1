// Kernels, by the names under which libraries register them when they are mapped, and their launches.
#include <mutex>
#include <unordered_map>

#include "stand_in/gpu.h"

namespace {

using namespace nightreel::stand_in;

// Filled before any constructor of this library has run.
struct Kernels {
  std::mutex mutex;
  std::unordered_map<const void*, const char*> names;
};

Kernels& kernels() {
  static auto* made = new Kernels;
  return *made;
}

const char* name_of(const void* function) {
  const std::lock_guard lock(kernels().mutex);
  const auto found = kernels().names.find(function);
  return found == kernels().names.end() ? "a kernel that was not registered" : found->second;
}

struct Configuration {
  dim3 grid;
  dim3 block;
  std::size_t shared;
  void* stream;
};

std::vector<Configuration>& configurations() {
  thread_local std::vector<Configuration> pushed;
  return pushed;
}

cudaError_t start(const void* function, dim3 grid, dim3 block, void** arguments, cudaStream_t stream) {
  STAND_IN_UNLESS_BROKEN();
  constexpr unsigned kMostThreads = 1024;
  const unsigned threads = block.x * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || threads > kMostThreads) {
    return fail(cudaErrorInvalidConfiguration);
  }
  return launch({name_of(function), grid, block, arguments, stream});
}

}  // namespace

STAND_IN_API void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
STAND_IN_API void __cudaRegisterFatBinaryEnd(void**) {}
STAND_IN_API void __cudaUnregisterFatBinary(void**) {}
STAND_IN_API void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}

STAND_IN_API void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, void*, void*,
                                         void*, void*, int*) {
  const std::lock_guard lock(kernels().mutex);
  kernels().names[function] = name;
}

STAND_IN_API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, void* stream) {
  configurations().push_back({grid, block, shared, stream});
  return 0;
}

STAND_IN_API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  const Configuration last = configurations().back();
  configurations().pop_back();
  *grid = last.grid;
  *block = last.block;
  *shared = last.shared;
  *static_cast<void**>(stream) = last.stream;
  return cudaSuccess;
}

// A handle of a kernel is its function.
STAND_IN_API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

STAND_IN_API cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t,
                                            cudaStream_t stream) {
  return start(reinterpret_cast<const void*>(kernel), grid, block, arguments, stream);
}

STAND_IN_API cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t,
                                          cudaStream_t stream) {
  return start(function, grid, block, arguments, stream);
}

STAND_IN_API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void* function,
                                             void** arguments) {
  return start(function, configuration->gridDim, configuration->blockDim, arguments, configuration->stream);
}

// What the parts of a stand-in for libcudart share: memory, streams, launches, and the error that stays.
//
// The library is C and lives as long as its process: what it knows is held in statics of functions. Any thread.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#define STAND_IN_API extern "C" __attribute__((visibility("default")))

namespace nightreel::stand_in {

/// A number from the environment, or `otherwise`.
std::uint64_t number(const char* variable, std::uint64_t otherwise);

// Errors ------------------------------------------------------------------------------------------------------------

/// cudaSuccess, or what broke the GPU: from then on every call gives it, as after a fault of a real kernel.
cudaError_t broken();
/// Breaks the GPU; `why` is what cudaGetErrorString() then says. The first reason stays.
cudaError_t break_gpu(const std::string& why);
/// An error of one call, which cudaGetLastError() takes back.
cudaError_t fail(cudaError_t error);

// Memory ------------------------------------------------------------------------------------------------------------

/// Whether device memory can be read and written (computing), or is addresses alone (counting).
bool memory_is_there();
bool on_device(const void* address);
/// Registered or allocated as pinned: copies to it are late.
bool is_pinned(const void* address);
/// Bytes of the card, of what no allocation of this process shows (its context, other processes), and what is taken now
/// and was at most.
struct MemoryUse {
  std::uint64_t card, context, used, most, failed;
};
MemoryUse memory_use(bool reset_most = false);
/// What a driver's function of that name does here; null: it is not known.
void* driver_function(const std::string& name);

// Streams -----------------------------------------------------------------------------------------------------------

/// What a stream has yet to do while the host has gone on.
class Work {
 public:
  virtual ~Work() = default;
  /// Whether it is done, for a host that asks without waiting.
  virtual bool done() = 0;
  /// Waits until it is.
  virtual void finish() = 0;
  /// Whether it writes to the host's memory alone, so that kernels behind it need not wait.
  virtual bool for_the_host() const { return false; }
};
void put(cudaStream_t stream, std::shared_ptr<Work> work);
/// Before a kernel on `stream`: what comes before it on the device is done.
void catch_up(cudaStream_t stream);
/// Before the host, or a copy from the host's memory, goes on: all is done.
void settle(cudaStream_t stream);

// Launches ----------------------------------------------------------------------------------------------------------

struct Launch {
  const char* kernel;
  dim3 grid;
  dim3 block;
  void** arguments;
  cudaStream_t stream;
};
/// What becomes of a kernel: each of the two stand-ins has its own.
cudaError_t launch(const Launch& launch);
/// Notes a call, for those who count.
void count(const char* what, std::uint64_t bytes = 0);

}  // namespace nightreel::stand_in

/// From now on other processes hold so much of the card.
STAND_IN_API void stand_in_others_hold(std::uint64_t bytes);

/// The first line of every call of the runtime.
#define STAND_IN_UNLESS_BROKEN()                                                                     \
  do {                                                                                               \
    if (const cudaError_t error = nightreel::stand_in::broken(); error != cudaSuccess) return error; \
  } while (false)

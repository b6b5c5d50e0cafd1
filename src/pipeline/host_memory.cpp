#include "pipeline/host_memory.h"

#include <sys/mman.h>

#include <string>

#include "nightreel/base/error.h"
#include "nightreel/memory/model.h"
#include "nightreel/memory/text.h"

#ifdef NIGHTREEL_CUDA
#include <cuda_runtime_api.h>
#endif

namespace nightreel::pipeline {

// Not LibTorch's pinned allocator, which rounds up to a power of two: up to half of 57 GB would be for nothing.
HostMemory::HostMemory(std::size_t bytes, bool pinned)
    : data_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)), bytes_(bytes) {
  if (data_ == MAP_FAILED) {
    throw base::Error(base::ErrorKind::environment,
                      "this host has no " + memory::human_bytes(bytes) + " of memory for weights that leave the GPU");
  }
  // A child that is forked to read a foreign file needs no weights, and copies of pinned pages would cost both dearly.
  ::madvise(data_, bytes_, MADV_DONTFORK);
#ifdef NIGHTREEL_CUDA
  if (pinned) pinned_ = cudaHostRegister(data_, bytes_, cudaHostRegisterPortable) == cudaSuccess;
  if (pinned && !pinned_) static_cast<void>(cudaGetLastError());  // or a later call is blamed for it
#else
  static_cast<void>(pinned);
#endif
}

HostMemory::~HostMemory() {
#ifdef NIGHTREEL_CUDA
  if (pinned_) static_cast<void>(cudaHostUnregister(data_));
#endif
  ::munmap(data_, bytes_);
}

}  // namespace nightreel::pipeline

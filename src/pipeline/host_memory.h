// Memory of the host that weights wait in while they are not on the GPU.
//
// Owns one block. With `pinned` the driver is asked to let the GPU copy from and to it by itself, so that a copy runs
// at the bus's speed and beside other work; where it refuses, copies are right and slower. Children do not have it. One
// thread; who plans looks first whether the host has so much (gpu_memory.h, host_memory_for). Throws
// base::Error{environment} where the host has no such memory.
#pragma once

#include <cstddef>

namespace nightreel::pipeline {

class HostMemory {
 public:
  HostMemory(std::size_t bytes, bool pinned);
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory();

  void* at(std::size_t offset) const { return static_cast<char*>(data_) + offset; }
  bool pinned() const { return pinned_; }

 private:
  void* data_;
  std::size_t bytes_;
  bool pinned_ = false;
};

}  // namespace nightreel::pipeline

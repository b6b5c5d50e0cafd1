// How much memory CPU tensors take, at the most, while something runs: for tests of memory estimates.
#pragma once

#include <cstddef>

namespace nightreel::test {

/// From its making on, LibTorch's CPU tensors are counted; one at a time in a process, and it must outlive none of them
/// (blocks know their allocator). What oneDNN keeps for itself is not seen.
class CountedMemory {
 public:
  CountedMemory();
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;
  ~CountedMemory();

  /// The most bytes that lived at once since start().
  void start();
  std::size_t most() const;
};

}  // namespace nightreel::test

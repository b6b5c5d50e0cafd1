// In place of the checked device of tests/support: the stand-in GPU, so that the suite that finds tensors left on the
// host runs on the project's own CUDA branches too.
#include <c10/cuda/CUDACachingAllocator.h>

#include "support/checked_device.h"

namespace nightreel::test {

c10::Device checked_device() {
  return {c10::kCUDA, 0};
}

std::size_t checked_device_bytes() {
  return static_cast<std::size_t>(c10::cuda::CUDACachingAllocator::getDeviceStats(0).allocated_bytes[0].current);
}

}  // namespace nightreel::test

// The project's own kernels on the host: the arithmetic is theirs, the grid is the one that they are launched with.
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdlib>
#include <cstring>

#include "ops/rotary_element.h"
#include "stand_in/computing.h"

namespace nightreel::stand_in {
namespace {

bool is_kernel(const Launch& launch, const char* name, const char* type) {
  const char* at = std::strstr(launch.kernel, name);
  return at != nullptr && std::strstr(at, type) != nullptr;
}

template <class T>
const T& argument(const Launch& launch, int index) {
  return *static_cast<const T*>(launch.arguments[index]);
}

/// ops/rotary.cu: each thread goes over its elements, a whole grid apart.
template <class T>
void rotary(const Launch& launch) {
  const auto count = argument<std::int64_t>(launch, 0);
  const auto& shape = argument<ops::RotaryShape>(launch, 1);
  const T* x = argument<const T*>(launch, 2);
  const float* table = argument<const float*>(launch, 3);
  T* out = argument<T*>(launch, 4);
  const std::int64_t threads = std::int64_t{launch.grid.x} * launch.block.x;
  for (std::int64_t thread = 0; thread < threads; ++thread) {
    for (std::int64_t i = thread; i < count; i += threads) ops::rotate_pair(i, shape, x, table, out);
  }
}

/// The first number of what it has made: whether a comparison sees a kernel that is wrong, and names it.
void spoil_rotary(const Launch& launch) {
  auto* out = argument<c10::BFloat16*>(launch, 4);
  out[0] = static_cast<float>(out[0]) + 4;
}

bool is_to_be_wrong(const char* kernel) {
  const char* wrong = std::getenv("STAND_IN_WRONG_KERNEL");
  return wrong != nullptr && std::strcmp(wrong, kernel) == 0;
}

}  // namespace

bool run_twin(const Launch& launch) {
  if (is_kernel(launch, "rotary_kernel", "BFloat16")) {
    rotary<c10::BFloat16>(launch);
    if (is_to_be_wrong("rotary")) spoil_rotary(launch);
  } else if (is_kernel(launch, "rotary_kernel", "Half")) {
    rotary<c10::Half>(launch);
  } else if (is_kernel(launch, "rotary_kernelIf", "")) {
    rotary<float>(launch);
  } else {
    return false;
  }
  return true;
}

}  // namespace nightreel::stand_in

// The arithmetic of one pair, shared by the CUDA kernel and by the CPU test that proves its indexing.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define NIGHTREEL_HOST_DEVICE __host__ __device__
#else
#define NIGHTREEL_HOST_DEVICE
#endif

namespace nightreel::ops {

struct RotaryShape {
  std::int64_t tokens;  // S
  std::int64_t heads;   // H
  std::int64_t pairs;   // D/2
};

/// Turns pair number `index` of [0, B*S*H*D/2) of a dense x_BSHD into `out`; table_SP2 holds cosine and sine.
template <class T>
NIGHTREEL_HOST_DEVICE inline void rotate_pair(std::int64_t index, const RotaryShape& shape, const T* x,
                                              const float* table, T* out) {
  const std::int64_t pair = index % shape.pairs;
  const std::int64_t token = index / (shape.pairs * shape.heads) % shape.tokens;
  const float* turn = table + 2 * (token * shape.pairs + pair);
  const float first = static_cast<float>(x[2 * index]);
  const float second = static_cast<float>(x[2 * index + 1]);
  out[2 * index] = static_cast<T>(first * turn[0] - second * turn[1]);
  out[2 * index + 1] = static_cast<T>(first * turn[1] + second * turn[0]);
}

}  // namespace nightreel::ops

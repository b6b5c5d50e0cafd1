// A linear layer: the matrix product that most of a transformer's time and memory goes into.
//
// Holds its tensors and is copied with them (two handles); const calls from any thread. Shapes that do not fit are
// LibTorch's errors: who loads the tensors has checked them (weights.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::model {

struct Linear {
  at::Tensor weight;  // [out, in]; several projections of one input lie one below the other
  at::Tensor bias;    // [out]
  at::Tensor scale;   // [out, 1], float32, of a weight in fp8 (ops/quantised.h); else undefined

  /// x [..., in] in the bias's dtype and on its device; [..., out].
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace nightreel::model

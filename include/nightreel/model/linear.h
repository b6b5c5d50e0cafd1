// A linear layer: the matrix product that most of a transformer's time and memory goes into. It says in which form it
// wants its input, so that who makes the input (a norm, a fused kernel) can make it so at once.
//
// Holds its tensors and is copied with them (two handles); const calls from any thread. Shapes that do not fit are
// LibTorch's errors: who loads the tensors has checked them (weights.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::model {

/// The form in which a layer wants its input.
struct InputForm {
  at::ScalarType dtype = at::kFloat;
  bool quantised = false;  // to fp8, each row with its scale (ops::quantise_rows)
};

/// Input in the form that a layer wants.
struct ReadyInput {
  at::Tensor values;  // [..., in], in that dtype or in fp8
  at::Tensor scale;   // [rows, 1] of what is in fp8; else undefined
};

/// Brings x [..., in] to `form`; x is spent.
ReadyInput make_ready(at::Tensor x, const InputForm& form);

struct Linear {
  at::Tensor weight;  // [out, in]; several projections of one input lie one below the other
  at::Tensor bias;    // [out]
  at::Tensor scale;   // [out, 1], float32, of a weight in fp8 (ops/quantised.h); else undefined

  /// In the bias's dtype; quantised where weight and device multiply in fp8. The weight must be here.
  InputForm input_form() const;
  at::Tensor operator()(const ReadyInput& x) const;
  /// x [..., in] in the bias's dtype and on its device; [..., out]. What is not quantised yet is, a piece at a time.
  at::Tensor operator()(const at::Tensor& x) const;
};

}  // namespace nightreel::model

// Which precision a tensor is converted to, and the conversion, piece by piece.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "nightreel/weights/convert.h"
#include "nightreel/weights/tensor_list.h"
#include "nightreel/weights/weights.h"

namespace nightreel::weights {

/// The type in which the tensor `name`, stored as `stored`, of the component that `list` is of is to be written. What
/// is computed with in float32 is not rounded, and whole numbers stay as they are. fp8 is for the matrices of the
/// blocks; what is beside them becomes bfloat16.
StoredType target_type(const TensorList& list, const std::string& name, const StoredTensor& stored,
                       Precision precision);

/// Errors of a component, summed up tensor by tensor.
struct Rounding {
  double max = 0;
  double sum = 0;
  double squares = 0;      // of the errors
  double all_squares = 0;  // of the numbers
  double count = 0;

  void add(const at::Tensor& before, const at::Tensor& after);  // float32 both
};

/// A piece of the converted tensor: bytes from its first, and the numbers.
using PieceSink = std::function<void(std::uint64_t at, const at::Tensor& piece)>;

/// Tensor `name` in `type`, in pieces of some megabytes. Throws Error{model} where a number is not finite, or too
/// large for float16.
void round_tensor(const WeightMap& weights, const std::string& name, StoredType type, const PieceSink& sink,
                  Rounding& rounding);

/// The matrix `name` in fp8: pieces of its values, and of its scales.
void quantise_tensor(const WeightMap& weights, const std::string& name, const PieceSink& values,
                     const PieceSink& scales, Rounding& rounding);

}  // namespace nightreel::weights

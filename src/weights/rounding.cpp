// O rows and I columns of a matrix.
#include "weights/rounding.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/ops/quantised.h"
#include "weights/scalar_type.h"

namespace nightreel::weights {

namespace {

constexpr std::int64_t kPiece = 1 << 20;  // elements; a few copies of 4 MiB

[[noreturn]] void refuse(const WeightMap& weights, const std::string& name, const std::string& why) {
  throw base::Error(base::ErrorKind::model, weights.path_of(name) + ": tensor " + base::printable(name) + ": " + why);
}

/// The tensor in float32 numbers, `size` rows or elements from `from` on.
class Source {
 public:
  Source(const WeightMap& weights, const std::string& name) : weights_(weights), name_(name) {
    if (weights.stored(name).type == StoredType::f8_e4m3) {
      quantised_ = {weights.tensor(name), weights.scale(name)};
    } else {
      tensor_ = weights.tensor(name).contiguous();
    }
  }
  /// Rows of it as a matrix of `columns`.
  at::Tensor rows(std::int64_t from, std::int64_t size, std::int64_t columns) const {
    const at::Tensor piece =
        tensor_.defined()
            ? tensor_.view({-1, columns}).narrow(0, from, size).to(at::kFloat)
            : ops::dequantise({quantised_.values_OI.narrow(0, from, size), quantised_.scale_O1.narrow(0, from, size)});
    if (!piece.isfinite().all().item<bool>()) {
      refuse(weights_, name_, "holds numbers that are not finite; `nightreel model check` counts them");
    }
    return piece;
  }

 private:
  const WeightMap& weights_;
  const std::string& name_;
  at::Tensor tensor_;
  ops::Quantised quantised_;
};

struct Matrix {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
};

/// fp8 goes by its rows, everything else by pieces of any length: a row of elements, so to say.
Matrix matrix_of(const StoredTensor& stored) {
  Matrix matrix;
  for (const std::int64_t size : stored.shape) matrix.rows *= size;
  if (stored.shape.size() == 2) matrix = {stored.shape[0], stored.shape[1]};
  return matrix;
}

}  // namespace

StoredType target_type(const TensorList& list, const std::string& name, const StoredTensor& stored,
                       Precision precision) {
  const ListedTensor* known = list.find(name);
  ListedTensor listed;
  listed.as_stored = list.as_stored();
  if (known != nullptr) listed = *known;
  const bool number = scalar_type(stored.type).has_value();
  if (precision == Precision::keep || !number || listed.as_stored) return stored.type;
  if (precision == Precision::f32) return StoredType::f32;
  if (listed.float32) return stored.type;
  if (precision == Precision::f16) return StoredType::f16;
  const bool matrix = listed.fp8 && stored.shape.size() == 2;
  return precision == Precision::fp8 && matrix ? StoredType::f8_e4m3 : StoredType::bf16;
}

void Rounding::add(const at::Tensor& before, const at::Tensor& after) {
  const at::Tensor error = (after - before).abs_();
  max = std::max(max, static_cast<double>(error.max().item<float>()));
  sum += error.sum(at::kDouble).item<double>();
  squares += error.square().sum(at::kDouble).item<double>();
  all_squares += before.square().sum(at::kDouble).item<double>();
  count += static_cast<double>(before.numel());
}

void round_tensor(const WeightMap& weights, const std::string& name, StoredType type, const PieceSink& sink,
                  Rounding& rounding) {
  const at::ScalarType target = scalar_type(type).value();
  const Matrix matrix = matrix_of(weights.stored(name));
  if (matrix.rows * matrix.columns == 0) return;
  const Source source(weights, name);
  const std::int64_t step = std::max<std::int64_t>(kPiece / matrix.columns, 1);
  for (std::int64_t from = 0; from < matrix.rows; from += step) {
    const at::Tensor before = source.rows(from, std::min(step, matrix.rows - from), matrix.columns);
    const at::Tensor piece = before.to(target);
    const at::Tensor after = piece.to(at::kFloat);
    if (type == StoredType::f16 && !after.isfinite().all().item<bool>()) {
      refuse(weights, name, "holds numbers that are too large for float16; write bf16");
    }
    rounding.add(before, after);
    sink(static_cast<std::uint64_t>(from * matrix.columns) * tensorfile::bytes_of(type), piece);
  }
}

void quantise_tensor(const WeightMap& weights, const std::string& name, const PieceSink& values,
                     const PieceSink& scales, Rounding& rounding) {
  const Matrix matrix = matrix_of(weights.stored(name));
  const Source source(weights, name);
  const std::int64_t step = std::max<std::int64_t>(kPiece / std::max<std::int64_t>(matrix.columns, 1), 1);
  for (std::int64_t from = 0; from < matrix.rows; from += step) {
    const at::Tensor before_OI = source.rows(from, std::min(step, matrix.rows - from), matrix.columns);
    const ops::Quantised piece = ops::quantise(before_OI);
    rounding.add(before_OI, ops::dequantise(piece));
    values(static_cast<std::uint64_t>(from * matrix.columns), piece.values_OI);
    scales(static_cast<std::uint64_t>(from) * sizeof(float), piece.scale_O1);
  }
}

}  // namespace nightreel::weights

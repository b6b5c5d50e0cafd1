// The one table of kernels for attention: a kernel is a row, and the first row that fits a case computes it.
//
// Constants; any thread. What LibTorch's kernels refuse is a c10::Error.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "nightreel/ops/attention.h"

namespace nightreel::ops {

/// What a row is asked about.
struct AttentionCase {
  std::int64_t queries = 0;
  std::int64_t keys = 0;
  std::int64_t head_dim = 0;
  at::ScalarType dtype = at::kFloat;
  at::DeviceType device = at::kCPU;
  bool bias = false;
};

AttentionCase case_of(const AttentionInput& input);

struct AttentionOutput {
  at::Tensor out_BHSD;
  /// The logarithm of the sum of exp(score) over the keys, or with more rows behind the S; undefined where the row
  /// gives none.
  at::Tensor sums_BHS = {};
};

struct AttentionBackend {
  std::string_view name;
  bool gives_sums;
  bool (*fits)(const AttentionCase& wanted);
  AttentionOutput (*run)(const AttentionInput& input);
};

/// In the order of choice. Some row fits every case, with sums and without.
std::span<const AttentionBackend> attention_backends();

/// The first row that fits; with `sums` of those alone that give them.
const AttentionBackend& attention_backend(const AttentionCase& wanted, bool sums);

}  // namespace nightreel::ops

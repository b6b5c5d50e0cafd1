// Modulation of tokens of which some have another time step than others: each run of tokens with its own rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nightreel::model {

/// What steers a run of tokens: the rows of a modulation table, each [B, D].
struct ModulatedRun {
  std::int64_t tokens;
  std::vector<at::Tensor> rows_BD;
};
/// Of all tokens, in their order.
using Modulation = std::vector<ModulatedRun>;

/// Which of the rows scales a norm, and which shifts it.
struct NormRows {
  std::size_t scale;
  std::size_t shift;
};

/// ops::modulated_norm of each run.
at::Tensor modulated_norm(const Modulation& modulation, const at::Tensor& x_BSD, const NormRows& rows, double eps);

/// ops::gated_add of each run, by the row `gate`; x is spent.
at::Tensor gated_add(const Modulation& modulation, at::Tensor x_BSD, const at::Tensor& y_BSD, std::size_t gate);

}  // namespace nightreel::model

// B batch, S tokens, H heads, D size of a head, P = D/2 pairs; F frames, Y rows, X columns of the grid.
#include "nightreel/ops/rotary.h"

#include <ATen/ATen.h>

#include <vector>

#ifdef NIGHTREEL_CUDA
#include "ops/rotary_cuda.h"
#endif

namespace nightreel::ops {

namespace {

/// Angles of positions 0..length-1 for an axis that has `dim` of a head's channels: float64 [length, dim/2].
at::Tensor axis_angles(std::int64_t length, std::int64_t dim, double theta) {
  const at::Tensor exponents = at::arange(0, dim, 2, at::kDouble).div_(static_cast<double>(dim));
  return at::outer(at::arange(length, at::kDouble), at::pow(theta, exponents).reciprocal_());
}

}  // namespace

at::Tensor rotary_table(std::array<std::int64_t, 3> grid, std::int64_t head_dim, double theta) {
  const std::int64_t side_dim = 2 * (head_dim / 6);
  const std::array<std::int64_t, 3> dims{head_dim - 2 * side_dim, side_dim, side_dim};
  std::vector<at::Tensor> angles_FYXP;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::vector<std::int64_t> shape{1, 1, 1, dims[axis] / 2};
    shape[axis] = grid[axis];
    angles_FYXP.push_back(
        axis_angles(grid[axis], dims[axis], theta).view(shape).expand({grid[0], grid[1], grid[2], -1}));
  }
  const at::Tensor angles_SP = at::cat(angles_FYXP, -1).flatten(0, 2);
  return at::stack({angles_SP.cos(), angles_SP.sin()}, -1).to(at::kFloat);
}

at::Tensor apply_rotary(const at::Tensor& x_BSHD, const at::Tensor& table_SP2) {
#ifdef NIGHTREEL_CUDA
  if (x_BSHD.is_cuda()) return apply_rotary_cuda(x_BSHD, table_SP2);
#endif
  // A turn of the plane is a product of complex numbers: one pass instead of six.
  const at::Tensor pairs_BSHP = at::view_as_complex(x_BSHD.to(at::kFloat).unflatten(-1, {-1, 2}));
  const at::Tensor turns_S1P = at::view_as_complex(table_SP2).unsqueeze(1);
  return at::view_as_real(pairs_BSHP * turns_S1P).flatten(-2).to(x_BSHD.scalar_type());
}

}  // namespace nightreel::ops

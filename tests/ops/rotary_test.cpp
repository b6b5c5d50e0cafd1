#include "nightreel/ops/rotary.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "ops/rotary_element.h"

using namespace nightreel;

namespace {

template <class T>
at::Tensor rotate_each_pair(const at::Tensor& x_BSHD, const at::Tensor& table_SP2) {
  at::Tensor out = at::full_like(x_BSHD, 1e9);
  const ops::RotaryShape shape{x_BSHD.size(1), x_BSHD.size(2), x_BSHD.size(3) / 2};
  for (std::int64_t i = 0; i < x_BSHD.numel() / 2; ++i) {
    ops::rotate_pair(i, shape, x_BSHD.const_data_ptr<T>(), table_SP2.const_data_ptr<float>(),
                     out.mutable_data_ptr<T>());
  }
  return out;
}

}  // namespace

TEST_CASE("the rotary table is cos and sin of position times 10000^(-2i/d) along each axis") {
  struct Case {
    std::array<std::int64_t, 3> grid;
    std::int64_t head_dim;
    std::array<std::int64_t, 3> dims;  // frames, rows, columns
  };
  for (const Case& c :
       {Case{{3, 2, 4}, 12, {4, 4, 4}}, Case{{2, 5, 3}, 44, {16, 14, 14}}, Case{{4, 1, 1}, 8, {4, 2, 2}},
        Case{{1, 3, 2}, 128, {44, 42, 42}}, Case{{2, 1, 2}, 2, {2, 0, 0}}}) {
    CAPTURE(c.head_dim);
    const at::Tensor table = ops::rotary_table(c.grid, c.head_dim);
    REQUIRE(table.sizes() == at::IntArrayRef({c.grid[0] * c.grid[1] * c.grid[2], c.head_dim / 2, 2}));
    REQUIRE((table.scalar_type() == at::kFloat));
    for (std::int64_t s = 0; s < table.size(0); ++s) {
      const std::array<std::int64_t, 3> at_axis{s / (c.grid[1] * c.grid[2]), s / c.grid[2] % c.grid[1], s % c.grid[2]};
      std::int64_t pair = 0;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        for (std::int64_t i = 0; i < c.dims[axis] / 2; ++i, ++pair) {
          const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(c.dims[axis]);
          const double angle = static_cast<double>(at_axis[axis]) * std::pow(10000.0, exponent);
          CHECK(std::fabs(table[s][pair][0].item<double>() - std::cos(angle)) < 1e-7);
          CHECK(std::fabs(table[s][pair][1].item<double>() - std::sin(angle)) < 1e-7);
        }
      }
    }
  }
}

TEST_CASE("the kernel's arithmetic, run over all indices, is that of the tensor operations") {
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{1, 6, 1, 2}, {2, 6, 3, 8}, {3, 6, 5, 12}}) {
    const at::Tensor table = ops::rotary_table({1, 2, 3}, shape.back());
    const at::Tensor x = at::randn(shape);
    const at::Tensor got = rotate_each_pair<float>(x, table);
    CHECK((got - ops::apply_rotary(x, table)).abs().max().item<float>() < 1e-6);
    const at::Tensor half = x.to(at::kBFloat16);
    const at::Tensor rounded = ops::apply_rotary(half, table);
    CHECK((rounded.scalar_type() == at::kBFloat16));
    const at::Tensor difference = rotate_each_pair<at::BFloat16>(half, table).to(at::kFloat) - rounded.to(at::kFloat);
    CHECK(difference.abs().max().item<float>() < 0.02);  // one unit in the last place, where fused rounding differs
  }
}

TEST_CASE("turning depends on the token's position and leaves position zero alone") {
  const at::Tensor table = ops::rotary_table({2, 2, 2}, 12);
  const at::Tensor x = at::randn({1, 1, 2, 12}).expand({1, 8, 2, 12}).contiguous();
  const at::Tensor turned = ops::apply_rotary(x, table);
  CHECK(at::equal(turned[0][0], x[0][0]));
  for (std::int64_t s = 1; s < 8; ++s) CHECK_FALSE(at::allclose(turned[0][s], x[0][s], 1e-2, 1e-2));
}

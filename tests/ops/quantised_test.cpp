// O output channels, I input channels, S rows.
#include "nightreel/ops/quantised.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace nightreel;
using ops::Quantised;

TEST_CASE("a weight in e4m3 is off by at most a sixteenth of itself, or half a subnormal step of its row") {
  at::manual_seed(7);
  at::Tensor weight_OI = at::randn({64, 48});
  weight_OI.mul_(at::logspace(-6, 6, 64).unsqueeze(1));  // channels of very different size
  const Quantised quantised = ops::quantise(weight_OI);
  CHECK((quantised.values_OI.scalar_type() == at::kFloat8_e4m3fn));
  CHECK((quantised.scale_O1.sizes() == at::IntArrayRef{64, 1}));
  const at::Tensor error_OI = (ops::dequantise(quantised) - weight_OI).abs();
  // Three bits of mantissa: half a step is 2^-4 of the number; the smallest step is 2^-9.
  const at::Tensor bound_OI =
      at::maximum(weight_OI.abs() * std::pow(2.0, -4), quantised.scale_O1 * std::pow(2.0, -10)) * 1.001;
  CHECK((error_OI <= bound_OI).all().item<bool>());
  CHECK(error_OI.max().item<float>() > 0);
  // The largest number of each row is kept, but for the division's rounding.
  const at::Tensor kept_O = ops::dequantise(quantised).abs().amax(1);
  CHECK(at::allclose(kept_O, weight_OI.abs().amax(1), 1e-6));
}

TEST_CASE("rows of zeros, of tiny numbers and of numbers that are not finite") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor weight_OI = at::tensor({0.0F, 0.0F, 1e-38F, -1e-38F, 1.0F, nan}).view({3, 2});
  const at::Tensor back_OI = ops::dequantise(ops::quantise(weight_OI));
  CHECK(at::equal(back_OI[0], at::zeros({2})));
  CHECK(at::equal(back_OI[1].abs(), at::zeros({2})));
  CHECK(back_OI[2].isnan().any().item<bool>());
}

TEST_CASE("the quantised linear layer is the float32 one within what e4m3 leaves of the weights") {
  at::manual_seed(8);
  for (const bool with_bias : {true, false}) {
    const at::Tensor weight_OI = at::randn({96, 256});
    const at::Tensor x_SI = at::randn({3, 5, 256});
    const at::Tensor bias_O = with_bias ? at::randn({96}) : at::Tensor();
    const at::Tensor expected = at::linear(x_SI, weight_OI, bias_O);
    const at::Tensor ours = ops::quantised_linear(x_SI, ops::quantise(weight_OI), bias_O);
    CHECK((ours.sizes() == expected.sizes()));
    CHECK((ours.scalar_type() == at::kFloat));
    // Independent errors, uniform in half a step of at most 1/8: sqrt(1/3) / 16 of each product, one in 27.
    const double relative = ((ours - expected).norm() / expected.norm()).item<double>();
    CHECK(relative < std::sqrt(1.0 / 3) / 16);
    CHECK(relative > 0.005);
  }
}

TEST_CASE("the layer keeps the dtype of what comes in") {
  const Quantised weight = ops::quantise(at::eye(16));
  const at::Tensor x = at::ones({2, 16}, at::kBFloat16);
  CHECK_FALSE(ops::has_fp8_products(x, weight));  // not on a CPU
  const at::Tensor y = ops::quantised_linear(x, weight, {});
  CHECK((y.scalar_type() == at::kBFloat16));
  CHECK(at::equal(y, x));
}

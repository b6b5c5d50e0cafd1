// How far two tensors are apart, in their own units. For tests that have LibTorch.
#pragma once

#include <ATen/ATen.h>
#include <doctest/doctest.h>

namespace nightreel::test {

/// max |a - b|, computed in the wider dtype of the two, which have one shape.
inline double gap(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return (a - b).abs().max().item<double>();
}

}  // namespace nightreel::test

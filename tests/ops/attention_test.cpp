#include "nightreel/ops/attention.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "support/gap.h"

using namespace nightreel;
using test::gap;

namespace {

at::Tensor attention_f64(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& bias_T) {
  const at::Tensor qd = q.to(at::kDouble).transpose(1, 2);
  at::Tensor scores = at::matmul(qd, k.to(at::kDouble).permute({0, 2, 3, 1}));
  scores = scores / std::sqrt(static_cast<double>(q.size(3))) + bias_T.to(at::kDouble);
  return at::matmul(scores.softmax(-1), v.to(at::kDouble).transpose(1, 2)).transpose(1, 2);
}

}  // namespace

TEST_CASE("attention is the softmax of scaled products, of dense tensors and of slices") {
  const at::Tensor qkv = at::randn({2, 9, 3 * 4 * 6});
  const std::vector<at::Tensor> parts = qkv.chunk(3, -1);
  const auto heads = [](const at::Tensor& x) { return x.unflatten(-1, {4, 6}); };
  const at::Tensor want = attention_f64(heads(parts[0]), heads(parts[1]), heads(parts[2]), at::zeros({9}));
  const at::Tensor got = ops::attention(heads(parts[0]), heads(parts[1]), heads(parts[2]));
  CHECK(got.sizes() == at::IntArrayRef({2, 9, 4, 6}));
  CHECK(gap(got, want) < 1e-6);
}

TEST_CASE("the bias is added to each key's score") {
  const at::Tensor q = at::randn({2, 5, 3, 8});
  const at::Tensor k = at::randn({2, 7, 3, 8});
  const at::Tensor v = at::randn({2, 7, 3, 8});
  const at::Tensor bias = at::randn({7});
  CHECK(gap(ops::attention(q, k, v, bias), attention_f64(q, k, v, bias)) < 1e-6);
}

TEST_CASE("equal keys may be folded into one whose bias is the logarithm of their number") {
  const at::Tensor q = at::randn({1, 5, 2, 8});
  const at::Tensor k = at::randn({1, 3, 2, 8});
  const at::Tensor v = at::randn({1, 3, 2, 8});
  const auto repeat_last = [](const at::Tensor& x) { return at::cat({x, x.slice(1, 2).expand({1, 40, 2, 8})}, 1); };
  const at::Tensor bias = at::tensor({0.0F, 0.0F, std::log(41.0F)});
  CHECK(gap(ops::attention(q, k, v, bias), ops::attention(q, repeat_last(k), repeat_last(v))) < 5e-6);
}

TEST_CASE("attention to the keys piece by piece, in any order, is attention to all of them") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor q = at::randn({2, 5, 3, 8}).to(dtype);
    const at::Tensor k =
        (at::randn({2, 11, 3, 8}) * 20).to(dtype);  // large scores: weights far apart, and their roundings count
    const at::Tensor v = at::randn({2, 11, 3, 8}).to(dtype);
    ops::PartialAttention sum;
    for (const auto& [from, count] : std::vector<std::pair<int, int>>{{7, 4}, {0, 1}, {1, 6}}) {
      ops::merge(sum, ops::partial_attention(q, k.narrow(1, from, count), v.narrow(1, from, count)));
    }
    const bool is_wide = sum.out_BSHD.scalar_type() == at::kFloat;
    CHECK(is_wide);
    CHECK(gap(sum.out_BSHD, attention_f64(q, k, v, at::zeros({11}))) < (dtype == at::kFloat ? 2e-5 : 2e-2));
  }
}

// Attention of a block against its formula, written out.
//
// B batch, S tokens, T rows of a context, D width, H heads, K size of a head.
#include "nightreel/model/attention.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "model/random_module.h"

using namespace nightreel;
using model::Context;
using test::deviation;

namespace {

constexpr double kTolerance = 1e-5;
constexpr std::array<std::int64_t, 3> kGrid{2, 2, 3};
constexpr std::int64_t kTokens = 12;

at::Tensor heads_BHSK(const at::Tensor& x_BSD) {
  return x_BSD.unflatten(-1, {2, 12}).transpose(1, 2);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight_D) {
  return x * at::rsqrt(x.square().mean(-1, true) + 1e-6) * weight_D;
}

/// Pairs of numbers are complex ones, turned by their token's angle.
at::Tensor turned(const at::Tensor& x_BHSK) {
  const at::Tensor angles = at::view_as_complex(test::tokens_of(kGrid, 12).rotary_SP2.contiguous());
  return at::view_as_real(at::view_as_complex(x_BHSK.contiguous().unflatten(-1, {-1, 2})) * angles).flatten(-2);
}

at::Tensor mixed(const at::Tensor& q_BHSK, const at::Tensor& k_BHTK, const at::Tensor& v_BHTK) {
  const at::Tensor scores = at::matmul(q_BHSK, k_BHTK.transpose(-1, -2)) / std::sqrt(12.0);
  return at::matmul(scores.softmax(-1), v_BHTK).transpose(1, 2).flatten(2);
}

struct Cross {
  model::CrossAttention attention{test::small_config(/*pictures=*/true)};
  std::vector<at::Tensor> tensors = test::fill(attention);
  at::Tensor x_BSD = at::randn({2, kTokens, 24});

  at::Tensor operator()(const model::Contexts& contexts) const { return attention.forward({x_BSD, {}}, contexts); }
};

}  // namespace

TEST_CASE("tokens attend to each other, queries and keys normed and turned by their places") {
  at::manual_seed(1);
  model::SelfAttention attention(test::small_config());
  const auto w = test::fill(attention);  // weight and bias of q, k and v; of the output; norms of q and k
  const at::Tensor x_BSD = at::randn({2, kTokens, 24});
  const auto qkv = at::linear(x_BSD, w[0], w[1]).chunk(3, -1);
  const at::Tensor expected = at::linear(
      mixed(turned(heads_BHSK(rms_norm(qkv[0], w[4]))), turned(heads_BHSK(rms_norm(qkv[1], w[5]))), heads_BHSK(qkv[2])),
      w[2], w[3]);
  CHECK(deviation(attention.forward({x_BSD, {}}, test::tokens_of(kGrid, 12)), expected) < kTolerance);
}

TEST_CASE("each context is attended to for itself, with its own projection, and the results are summed") {
  at::manual_seed(2);
  const Cross cross;
  const auto& w = cross.tensors;  // of q; of keys and values, twice; of the output; norms of q and of both keys
  const Context prompt{at::randn({2, 7, 24})};
  const Context picture{at::randn({1, 4, 24})};
  const at::Tensor q = heads_BHSK(rms_norm(at::linear(cross.x_BSD, w[0], w[1]), w[8]));
  at::Tensor sum;
  for (const std::size_t i : {0, 1}) {
    const auto kv = at::linear(i == 0 ? prompt.rows_BTD : picture.rows_BTD, w[2 + 2 * i], w[3 + 2 * i]).chunk(2, -1);
    const at::Tensor part = mixed(q, heads_BHSK(rms_norm(kv[0], w[9 + i])), heads_BHSK(kv[1]));
    sum = sum.defined() ? sum + part : part;
  }
  CHECK(deviation(cross({prompt, picture}), at::linear(sum, w[6], w[7])) < kTolerance);
  CHECK(deviation(cross({prompt}), cross({prompt, picture})) > 0.01);
}

TEST_CASE("keys and values that are kept give the bits of those that are made at every call") {
  at::manual_seed(3);
  const Cross cross;
  const model::Contexts contexts{{at::randn({2, 7, 24})}, {at::randn({1, 4, 24})}};
  const model::Contexts kept = cross.attention.with_keys(contexts);
  CHECK(kept[1].keys_BTHK.is_contiguous());
  CHECK((kept[1].values_BTHK.sizes() == at::IntArrayRef{1, 4, 2, 12}));
  CHECK(at::equal(cross(kept), cross(contexts)));
}

TEST_CASE("a row whose bias is the logarithm of n counts as n equal rows") {
  at::manual_seed(4);
  const Cross cross;
  const at::Tensor rows_BTD = at::randn({2, 3, 24});
  const at::Tensor last_BTD = rows_BTD.slice(1, 2).expand({2, 5, 24});
  const at::Tensor bias_T = at::tensor({0.0, 0.0, std::log(6.0)}).to(at::kFloat);
  CHECK(deviation(cross({{rows_BTD, bias_T}}), cross({{at::cat({rows_BTD, last_BTD}, 1)}})) < kTolerance);
}

#include "ops/attention_backends.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "support/gap.h"

using namespace nightreel;
using ops::AttentionCase;
using test::gap;

namespace {

struct Choice {
  AttentionCase wanted;
  bool sums;
  std::string name;
};

/// Two entries of three heads, five queries and seven keys.
ops::AttentionInput some_input(bool bias, std::optional<double> scale) {
  ops::AttentionInput input{at::randn({2, 3, 5, 8}), at::randn({2, 3, 7, 8}), at::randn({2, 3, 7, 8})};
  if (bias) input.bias_BHST = at::randn({2, 3, 5, 7});
  input.scale = scale;
  return input;
}

at::Tensor scores_f64(const ops::AttentionInput& in) {
  const at::Tensor scores = at::matmul(in.q_BHSD.to(at::kDouble), in.k_BHTD.to(at::kDouble).transpose(2, 3));
  const at::Tensor scaled = scores * in.scale.value_or(1 / std::sqrt(8.0));
  return in.bias_BHST ? scaled + *in.bias_BHST : scaled;
}

}  // namespace

TEST_CASE("the first row that fits computes a case; sums are asked of rows alone that give them") {
  const std::vector<Choice> choices{
      {{9, 9, 128, at::kFloat, at::kCPU, false}, false, "libtorch"},
      {{9, 9, 128, at::kBFloat16, at::kCUDA, false}, false, "libtorch"},
      {{9, 9, 64, at::kBFloat16, at::kCUDA, true}, false, "libtorch"},
      {{9, 9, 384, at::kFloat, at::kCUDA, false}, false, "libtorch"},
      {{9, 9, 128, at::kFloat, at::kCPU, false}, true, "cpu-flash"},
      {{9, 9, 44, at::kBFloat16, at::kCPU, false}, true, "cpu-flash"},
      {{9, 9, 44, at::kFloat, at::kCUDA, false}, true, "efficient"},
      {{9, 9, 128, at::kBFloat16, at::kCUDA, false}, true, "flash"},
      {{9, 9, 128, at::kHalf, at::kCUDA, false}, true, "flash"},
      {{9, 9, 44, at::kBFloat16, at::kCUDA, false}, true, "products"},
      {{9, 9, 128, at::kFloat, at::kCUDA, true}, true, "products"},
      {{9, 9, 128, at::kBFloat16, at::kCUDA, true}, true, "products"},
  };
  for (const Choice& choice : choices) {
    CAPTURE(choice.wanted.head_dim);
    CAPTURE(choice.wanted.bias);
    CHECK(std::string(ops::attention_backend(choice.wanted, choice.sums).name) == choice.name);
  }
}

TEST_CASE("rows have names of their own, and the last one takes every case with sums") {
  std::set<std::string> names;
  for (const auto& backend : ops::attention_backends()) names.emplace(backend.name);
  CHECK(names.size() == ops::attention_backends().size());
  const auto& last = ops::attention_backends().back();
  CHECK(last.gives_sums);
  for (const at::DeviceType device : {at::kCPU, at::kCUDA}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      CHECK(last.fits({1, 1, 5, dtype, device, true}));
    }
  }
}

TEST_CASE("what a row is asked about is read off the tensors") {
  const AttentionCase plain = ops::case_of({at::randn({2, 3, 5, 8}), at::randn({2, 3, 7, 8}), at::randn({2, 3, 7, 8})});
  CHECK(plain.queries == 5);
  CHECK(plain.keys == 7);
  CHECK(plain.head_dim == 8);
  CHECK((plain.dtype == at::kFloat && plain.device == at::kCPU));
  CHECK_FALSE(plain.bias);
  CHECK(ops::case_of(some_input(true, std::nullopt)).bias);
}

TEST_CASE("every row that fits gives the same, with bias and scale, and the sums where it says so") {
  int rows = 0;
  for (const bool bias : {false, true}) {
    for (const std::optional<double> scale : {std::optional<double>(), std::optional(1.0)}) {
      const ops::AttentionInput input = some_input(bias, scale);
      const at::Tensor scores = scores_f64(input);
      const at::Tensor want = at::matmul(scores.softmax(-1), input.v_BHTD.to(at::kDouble));
      for (const auto& backend : ops::attention_backends()) {
        if (!backend.fits(ops::case_of(input))) continue;
        CAPTURE(std::string(backend.name));
        ++rows;
        const auto got = backend.run(input);
        CHECK(gap(got.out_BHSD, want) < 1e-5);
        CHECK(got.sums_BHS.defined() == backend.gives_sums);
        if (backend.gives_sums) CHECK(gap(got.sums_BHS.slice(2, 0, 5), scores.logsumexp(-1)) < 1e-5);
      }
    }
  }
  CHECK(rows == 12);  // three rows are a CPU's
}

TEST_CASE("attention is what LibTorch chooses by itself, to the bit") {
  for (const bool bias : {false, true}) {
    const ops::AttentionInput in = some_input(bias, 1.0);
    const at::Tensor want = at::scaled_dot_product_attention(in.q_BHSD, in.k_BHTD, in.v_BHTD, in.bias_BHST, 0.0, false,
                                                             /*scale=*/1.0);
    CHECK(at::equal(ops::attention(in), want));
  }
}

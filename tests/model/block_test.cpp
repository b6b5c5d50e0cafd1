// A block with random weights: whose time step, whose context and whose collective calls.
//
// B batch, S tokens, T rows of a context, D width.
#include "nightreel/model/block.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "model/random_module.h"

using namespace nightreel;
using test::deviation;
using test::random_time;

namespace {

constexpr std::array<std::int64_t, 3> kBlockGrid{2, 1, 3};
constexpr std::int64_t kBlockTokens = 6;

struct SmallBlock {
  model::Block block{test::small_config()};
  std::vector<at::Tensor> tensors = test::fill(block, "blocks.0.");

  at::Tensor operator()(const at::Tensor& x_BSD, const model::TimeEmbeddings& times,
                        const model::Contexts& contexts) const {
    return block.forward(x_BSD.clone(), times, contexts, test::tokens_of(kBlockGrid, 12));
  }
};

/// Some of the tokens' time steps as one of their own.
model::TimeEmbedding part_of(const model::TimeEmbedding& time, std::int64_t tokens) {
  return {tokens, time.embedding_BD, time.modulation_B6D};
}

}  // namespace

TEST_CASE("a block is its parts: norms, attention twice, feed-forward layers, each gated and added") {
  at::manual_seed(1);
  const card::TransformerConfig config = test::small_config();
  const SmallBlock small;
  model::SelfAttention self(config);
  model::CrossAttention cross(config);
  model::FeedForward ffn(config);
  model::ParameterList parts(at::kFloat);
  self.parameters("", parts);
  cross.parameters("", parts);
  ffn.parameters("", parts);
  std::size_t next = 1;  // the block's tensors: a table, 14 of attention, the norm's weight and bias, 4 of ffn
  for (const model::Parameter& parameter : parts.take()) {
    if (next == 15) next = 17;
    *parameter.tensor = small.tensors.at(next++);
  }
  CHECK(next == small.tensors.size());
  const at::Tensor x = at::randn({1, kBlockTokens, 24});
  const model::TimeEmbedding time = random_time(kBlockTokens, 24);
  const model::Contexts contexts{{at::randn({1, 5, 24})}};
  const auto rows = (small.tensors[0] + time.modulation_B6D).unbind(1);
  const auto norm = [&](const at::Tensor& of) { return at::layer_norm(of, {24}, {}, {}, config.eps); };
  at::Tensor y = norm(x) * (1 + rows[1]) + rows[0];
  at::Tensor expected = x + self.forward({y, {}}, test::tokens_of(kBlockGrid, 12)) * rows[2];
  y = norm(expected) * small.tensors[15] + small.tensors[16];
  expected = expected + cross.forward({y, {}}, contexts);
  y = norm(expected) * (1 + rows[4]) + rows[3];
  expected = expected + ffn.forward({y, {}}) * rows[5];
  CHECK(deviation(small(x, {time}, contexts), expected) < 1e-5);
}

TEST_CASE("tokens that follow each other with one time step are as good as one run, with another are not") {
  at::manual_seed(2);
  const SmallBlock small;
  const at::Tensor x = at::randn({1, kBlockTokens, 24});
  const model::Contexts contexts{{at::randn({1, 5, 24})}};
  const model::TimeEmbedding time = random_time(kBlockTokens, 24);
  const at::Tensor whole = small(x, {time}, contexts);
  CHECK(deviation(small(x, {part_of(time, 2), part_of(time, 4)}, contexts), whole) < 1e-5);
  CHECK(deviation(small(x, {random_time(2, 24), part_of(time, 4)}, contexts), whole) > 0.01);
}

TEST_CASE("prompts that share their tokens are told apart by the first context") {
  at::manual_seed(3);
  const SmallBlock small;
  const at::Tensor x = at::randn({1, kBlockTokens, 24});
  const at::Tensor rows_BTD = at::randn({2, 5, 24});
  const model::TimeEmbedding time = random_time(kBlockTokens, 24);
  const at::Tensor both = small(x, {time}, {{rows_BTD}});
  REQUIRE(both.size(0) == 2);
  for (const std::int64_t prompt : {0, 1}) {
    const at::Tensor alone = small(x, {time}, {{rows_BTD.slice(0, prompt, prompt + 1)}});
    CHECK(deviation(both.slice(0, prompt, prompt + 1), alone) < 1e-5);
  }
}

TEST_CASE("a block says once that it makes no more collective calls") {
  const SmallBlock small;
  int told = 0;
  const auto when_alone = [&] { ++told; };
  small.block.forward(at::randn({1, kBlockTokens, 24}), {random_time(kBlockTokens, 24)}, {{at::randn({1, 5, 24})}},
                      test::tokens_of(kBlockGrid, 12), when_alone);
  CHECK(told == 1);
}

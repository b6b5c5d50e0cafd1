// A transformer over a group of ranks gives what it gives alone.
#include "nightreel/model/sequence_parallel.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <optional>
#include <sstream>

#include "comm/host_copies.h"
#include "comm/store_group.h"
#include "nightreel/base/json.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/weights.h"
#include "support/checked_device.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;

namespace {

constexpr double kTolerance = 1e-5;
constexpr std::chrono::seconds kLong{60};

// The checkpoints' widths cut into other numbers of heads: 4, 6 and 10 share factors with some groups and none with
// others. Together the goldens have 72, 12, 6 and 4 tokens, batches, time steps of the first frame and pictures.
struct Case {
  const char* name;
  std::int64_t heads;
};
constexpr Case kCases[]{{"deep", 4}, {"deep", 6}, {"pixels", 10}, {"ti2v", 6}, {"clip", 4}, {"patches", 2}};

model::Transformer load(const Case& c, at::Device device) {
  const std::string folder = test::golden_path(std::string(c.name) + "/model/transformer");
  model::TransformerConfig config = model::parse_transformer_config(base::read_json(folder + "/config.json"), folder);
  config.attention_head_dim = config.width() / c.heads;
  config.num_attention_heads = c.heads;
  model::WeightMap weights = model::WeightMap::open(folder);
  model::Transformer transformer(config, weights, device, at::kFloat);
  weights.expect_all_taken();
  return transformer;
}

/// Differences between a forward pass of the group and one alone that are too large, as text.
std::string wrong_passes(const Case& c, comm::Communicator& group, at::Device device = at::kCPU) {
  const model::Transformer transformer = load(c, device);
  model::SequenceParallel sequence(group, c.heads);
  const Golden golden(std::string(c.name) + "/transformer");
  std::ostringstream wrong;
  for (const char* suffix : {"_0", "_1", "_2", "_3"}) {
    const auto given = [&](const std::string& name) {
      return golden.has(name + suffix) ? golden.tensor(name + suffix).to(device) : at::Tensor();
    };
    if (!given("latents").defined()) continue;
    const model::TransformerText text = transformer.prepare_text(given("text"), /*keep_keys=*/false, given("image"));
    const auto pass = [&](const model::SequenceParallel& over) {
      return transformer.forward(given("latents"), given("timestep"), text, given("first_timestep"), over);
    };
    const at::Tensor together = pass(sequence);
    const double error = test::relative_error(together, pass({}));
    if (!(error < kTolerance)) wrong << c.name << " with " << c.heads << " heads" << suffix << ": " << error << "; ";
    at::Tensor first = together.clone(at::MemoryFormat::Contiguous);
    group.broadcast(first, 0);
    if (!first.eq(together).all().item<bool>()) wrong << c.name << suffix << ": not the same bits on every rank; ";
  }
  sequence.finalize();
  return wrong.str();
}

}  // namespace

TEST_CASE("1, 2, 3, 4 and 8 ranks give one rank's velocities, whatever the heads and the tokens") {
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [](comm::Communicator& group) {
      const c10::InferenceMode inference;
      std::string wrong;
      for (const Case& c : kCases) wrong += wrong_passes(c, group);
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("they do so on another device, from tensors of that device alone") {
  // Six heads over four ranks: twice three heads on two blocks of keys.
  const auto outcomes = test::in_group(4, kLong, [](comm::Communicator& group) {
    const c10::InferenceMode inference;
    test::HostCopies copies(group);
    const at::Device device = test::checked_device();
    const std::string wrong = wrong_passes({"deep", 6}, copies, device) + wrong_passes({"ti2v", 6}, copies, device);
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

TEST_CASE("tokens are dealt out in order, the same number to each rank, and padded") {
  const auto outcomes = test::in_group(3, kLong, [](comm::Communicator& group) {
    model::SequenceParallel sequence(group, 5);
    std::string wrong;
    for (const std::int64_t total : {1, 2, 3, 7, 9}) {
      const model::TokenShare share = sequence.share(total);
      const at::Tensor all = at::arange(1, 2 * total + 1, at::kFloat).view({2, total, 1});
      const at::Tensor own = sequence.take(all, share, 1);
      if (own.size(1) != (total + 2) / 3) wrong += "size ";
      const at::Tensor padded = at::constant_pad_nd(all, {0, 0, 0, 3});
      if (!at::equal(own, padded.narrow(1, share.begin < total ? share.begin : total, share.count))) wrong += "take ";
      if (!at::equal(sequence.gather(own, share), all)) wrong += "gather ";
      std::int64_t first = 0;
      for (std::int64_t i = share.begin; i < share.begin + share.count; ++i) first += i < 2 ? 1 : 0;
      if (share.among_first(2) != first) wrong += "among_first ";
    }
    sequence.finalize();
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

TEST_CASE("ranks whose videos differ in size end in an error that names them") {
  const auto outcomes = test::in_group(4, std::chrono::seconds(4), [](comm::Communicator& group) -> std::string {
    model::SequenceParallel sequence(group, 2);
    const model::TokenShare share = sequence.share(group.rank() == 2 ? 24 : 16);
    const at::Tensor q = at::ones({1, share.count, 2, 4});
    sequence.attention(q, q, q, share);
    return "nothing thrown";
  });
  for (const std::size_t rank : {2, 3}) {
    CHECK_MESSAGE(outcomes[rank].find("rank 2: all_to_all") != std::string::npos, outcomes[rank]);
  }
}

// A transformer over a group of ranks gives what it gives alone.
#include "nightreel/model/sequence_parallel.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <sstream>
#include <vector>

#include "comm/host_copies.h"
#include "comm/store_group.h"
#include "nightreel/base/json.h"
#include "nightreel/model/transformer.h"
#include "nightreel/weights/weights.h"
#include "support/checked_device.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;
using test::kLong;

namespace {

constexpr double kTolerance = 1e-5;

// The checkpoints' widths cut into other numbers of heads: 4, 6 and 10 share factors with some groups and none with
// others. Together the goldens have 72, 12, 6 and 4 tokens, batches, time steps of the first frame and pictures.
struct ParallelCase {
  const char* name;
  std::int64_t heads;
};
constexpr ParallelCase kInParallel[]{{"deep", 4}, {"deep", 6}, {"pixels", 10},
                                     {"ti2v", 6}, {"clip", 4}, {"patches", 2}};

model::Transformer load_cut(const ParallelCase& c, at::Device device) {
  const std::string folder = test::golden_path(std::string(c.name) + "/model/transformer");
  card::TransformerConfig config = card::parse_transformer_config(base::read_json(folder + "/config.json"), folder);
  config.attention_head_dim = config.width() / c.heads;
  config.num_attention_heads = c.heads;
  weights::WeightMap weights = weights::WeightMap::open(folder);
  model::Transformer transformer(config, weights, {device, at::kFloat});
  weights.expect_all_taken();
  return transformer;
}

/// What goes into a forward pass, and what comes out without a group.
struct Pass {
  std::string name;
  at::Tensor latents, timestep, text, image, first_timestep;
  at::Tensor velocity = {};
};

/// The passes that the goldens have of a case, computed once, before the members are forked.
std::vector<Pass> passes_alone(const ParallelCase& c, at::Device device = at::kCPU) {
  test::compute_in_one_thread();
  const c10::InferenceMode inference;
  const model::Transformer transformer = load_cut(c, device);
  const Golden golden(std::string(c.name) + "/transformer");
  std::vector<Pass> passes;
  for (const char* suffix : {"_0", "_1", "_2", "_3"}) {
    const auto given = [&](const std::string& name) {
      return golden.has(name + suffix) ? golden.tensor(name + suffix).to(device) : at::Tensor();
    };
    if (!given("latents").defined()) continue;
    Pass pass{suffix, given("latents"), given("timestep"), given("text"), given("image"), given("first_timestep")};
    const model::TransformerText text = transformer.prepare_text(pass.text, /*keep_keys=*/false, pass.image);
    pass.velocity = transformer.forward(pass.latents, pass.timestep, text, pass.first_timestep, {});
    passes.push_back(pass);
  }
  return passes;
}

/// Differences between a forward pass of the group and one alone that are too large, as text.
std::string wrong_passes(const ParallelCase& c, const std::vector<Pass>& alone, comm::Communicator& group,
                         at::Device device = at::kCPU) {
  const c10::InferenceMode inference;
  const model::Transformer transformer = load_cut(c, device);
  model::SequenceParallel sequence(group, c.heads);
  std::ostringstream wrong;
  for (const Pass& pass : alone) {
    const model::TransformerText text = transformer.prepare_text(pass.text, /*keep_keys=*/false, pass.image);
    const at::Tensor together = transformer.forward(pass.latents, pass.timestep, text, pass.first_timestep, sequence);
    const double error = test::relative_error(together, pass.velocity);
    if (!(error < kTolerance)) wrong << c.name << " with " << c.heads << " heads" << pass.name << ": " << error << "; ";
    at::Tensor first = together.clone(at::MemoryFormat::Contiguous);
    group.broadcast(first, 0);
    if (!first.eq(together).all().item<bool>()) {
      wrong << c.name << pass.name << ": not the same bits on every rank; ";
    }
  }
  if (alone.size() < 2) wrong << c.name << ": too few passes; ";
  sequence.finalize();
  return wrong.str();
}

}  // namespace

TEST_CASE("1, 2, 3, 4 and 8 ranks give one rank's velocities, whatever the heads and the tokens") {
  std::vector<std::vector<Pass>> alone;
  for (const ParallelCase& c : kInParallel) alone.push_back(passes_alone(c));
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [&](comm::Communicator& group) {
      std::string wrong;
      for (std::size_t i = 0; i < alone.size(); ++i) wrong += wrong_passes(kInParallel[i], alone[i], group);
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("they do so on another device, from tensors of that device alone") {
  // Six heads over four ranks: twice three heads on two blocks of keys.
  const at::Device device = test::checked_device();
  const std::vector<ParallelCase> cases{{"deep", 6}, {"ti2v", 6}};
  std::vector<std::vector<Pass>> alone;
  for (const ParallelCase& c : cases) alone.push_back(passes_alone(c, device));
  const auto outcomes = test::in_group(4, kLong, [&](comm::Communicator& group) {
    test::HostCopies copies(group);
    std::string wrong;
    for (std::size_t i = 0; i < cases.size(); ++i) wrong += wrong_passes(cases[i], alone[i], copies, device);
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
  const auto outcomes = test::in_group(4, std::chrono::seconds(15), [](comm::Communicator& group) -> std::string {
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

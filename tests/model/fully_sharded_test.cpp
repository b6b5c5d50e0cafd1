// Blocks of which each rank keeps a share compute with the bits of blocks that are whole.
#include "nightreel/model/fully_sharded.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <csignal>
#include <sstream>

#include "comm/failing_member.h"
#include "comm/host_copies.h"
#include "comm/members.h"
#include "comm/store_group.h"
#include "nightreel/base/json.h"
#include "nightreel/model/sequence_parallel.h"
#include "nightreel/model/transformer.h"
#include "nightreel/weights/weights.h"
#include "support/checked_device.h"
#include "support/golden.h"

using namespace nightreel;
using test::Golden;
using test::kLong;

namespace {

constexpr std::int64_t kAlignment = 512;  // bytes that a tensor, and a shard, is filled up to

struct ShardedCase {
  const char* name;  // "clip" has the layers that look at pictures
  bool fp8;
};
constexpr ShardedCase kSharded[]{{"deep", false}, {"deep", true}, {"clip", false}};

model::Transformer load_share(const ShardedCase& c, const model::ShardSeat& seat, at::Device device = at::kCPU) {
  const std::string folder = test::golden_path(std::string(c.name) + "/model/transformer");
  weights::WeightMap weights = weights::WeightMap::open(folder);
  const auto config = card::parse_transformer_config(base::read_json(folder + "/config.json"), folder);
  return {config, weights, {device, at::kFloat, c.fp8, seat}};
}

model::ShardSeat seat_in(const comm::Communicator& group) {
  return {group.rank(), group.size()};
}

at::Tensor velocity(const model::Transformer& transformer, const ShardedCase& c, bool keep_keys, at::Device device,
                    const model::SequenceParallel& sequence) {
  const Golden golden(std::string(c.name) + "/transformer");
  const auto given = [&](const std::string& name) {
    return golden.has(name + "_0") ? golden.tensor(name + "_0").to(device) : at::Tensor();
  };
  const model::TransformerText text = transformer.prepare_text(given("text"), keep_keys, given("image"));
  return transformer.forward(given("latents"), given("timestep"), text, given("first_timestep"), sequence).cpu();
}

/// What a sharded transformer computes otherwise than one that is whole, in the same group, as text. `sequence`: over
/// some of the group's ranks.
std::string wrong_velocities(const ShardedCase& c, comm::Communicator& group, const model::SequenceParallel& sequence,
                             at::Device device = at::kCPU) {
  const model::Transformer whole = load_share(c, {}, device);
  model::Transformer sharded = load_share(c, seat_in(group), device);
  sharded.gather_over(&group);
  std::string wrong;
  for (const bool keep_keys : {false, true}) {
    const at::Tensor expected = velocity(whole, c, keep_keys, device, sequence);
    for (int pass = 0; pass < 2; ++pass) {
      if (!at::equal(velocity(sharded, c, keep_keys, device, sequence), expected)) wrong += std::string(c.name) + "; ";
    }
  }
  return wrong;
}

std::int64_t held_bytes(model::Transformer& transformer) {
  std::int64_t bytes = 0;
  transformer.each_weight([&](const at::Tensor& weight) { bytes += static_cast<std::int64_t>(weight.nbytes()); });
  return bytes;
}

struct Blocks {
  std::int64_t bytes = 0;
  std::int64_t tensors = 0;
};

Blocks blocks_of(model::Transformer& whole) {
  Blocks blocks;
  for (const model::Parameter& parameter : whole.parameters()) {
    if (parameter.parts[0].name.rfind("blocks.", 0) != 0) continue;
    model::each_tensor(parameter, [&](const at::Tensor& weight) {
      blocks.bytes += static_cast<std::int64_t>(weight.nbytes());
      ++blocks.tensors;
    });
  }
  return blocks;
}

/// Where a rank holds too little or too much, for groups of 2 to 8, as text.
std::string wrong_shares(const ShardedCase& c) {
  model::Transformer whole = load_share(c, {});
  const Blocks blocks = blocks_of(whole);
  const std::int64_t rest = held_bytes(whole) - blocks.bytes;
  std::ostringstream wrong;
  if (rest <= 0 || blocks.bytes <= 0) wrong << "nothing to compare; ";
  for (const int size : {2, 3, 4, 8}) {
    const std::int64_t padding = kAlignment * (blocks.tensors + size * whole.config().num_layers);
    std::int64_t all = 0;
    for (int rank = 0; rank < size; ++rank) {
      model::Transformer sharded = load_share(c, {rank, size});
      const std::int64_t share = held_bytes(sharded) - rest;
      const bool fair = share >= blocks.bytes / size && share <= (blocks.bytes + padding) / size;
      if (!fair) wrong << share << " of " << blocks.bytes << " bytes on rank " << rank << " of " << size << "; ";
      all += share;
    }
    if (all < blocks.bytes) wrong << all << " bytes on " << size << " ranks; ";
  }
  return wrong.str();
}

}  // namespace

TEST_CASE("1, 2, 3, 4 and 8 ranks that keep a share each compute the bits of ranks that keep all") {
  for (const int size : {1, 2, 3, 4, 8}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [](comm::Communicator& group) {
      const c10::InferenceMode inference;
      std::string wrong;
      for (const ShardedCase& c : kSharded) {
        model::SequenceParallel sequence(group, load_share(c, {}).config().num_attention_heads);
        wrong += wrong_velocities(c, group, sequence);
        sequence.finalize();
      }
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("two halves that compute apart gather their blocks from the whole group, in step") {
  for (const int size : {2, 4}) {
    CAPTURE(size);
    const auto outcomes = test::in_group(size, kLong, [](comm::Communicator& group) {
      const c10::InferenceMode inference;
      const auto half = group.split(2 * group.rank() / group.size());
      model::SequenceParallel sequence(*half, load_share(kSharded[0], {}).config().num_attention_heads);
      const std::string wrong = wrong_velocities(kSharded[0], group, sequence);
      sequence.finalize();
      half->finalize();
      group.finalize();
      return wrong + "end";
    });
    for (const std::string& outcome : outcomes) CHECK(outcome == "end");
  }
}

TEST_CASE("on another device, shards and gathered blocks are tensors of that device") {
  const auto outcomes = test::in_group(2, kLong, [](comm::Communicator& group) {
    const c10::InferenceMode inference;
    const at::Device device = test::checked_device();
    test::HostCopies copies(group);
    std::string wrong = wrong_velocities(kSharded[0], copies, {}, device);
    const std::size_t before = test::checked_device_bytes();
    model::Transformer sharded = load_share(kSharded[0], seat_in(group), device);
    const auto more = static_cast<std::int64_t>(test::checked_device_bytes() - before);
    if (more > held_bytes(sharded) * 11 / 10) wrong += "it keeps more than its share; ";
    group.finalize();
    return wrong + "end";
  });
  for (const std::string& outcome : outcomes) CHECK(outcome == "end");
}

TEST_CASE("each rank holds its share of the blocks' bytes, and together they hold them once") {
  test::Member member([] {
    std::string wrong;
    for (const ShardedCase& c : kSharded) wrong += wrong_shares(c);
    return wrong + "end";
  });
  CHECK(member.outcome(kLong) == "end");
}

TEST_CASE("a member that is killed or frozen in the middle of a gather is named within the deadline") {
  constexpr int kSize = 3;
  const std::vector<int> signals{SIGKILL, SIGSTOP};
  const std::vector<test::Announcement> addresses(signals.size());
  std::vector<std::vector<test::Member>> groups(signals.size());
  for (std::size_t i = 0; i < signals.size(); ++i) {
    for (int rank = 0; rank < kSize; ++rank) {
      groups[i].emplace_back([&, i, rank] {
        const c10::InferenceMode inference;
        auto group = comm::make_store(addresses[i].wait(), rank, kSize, {std::chrono::seconds(6)});
        test::FailingMember member(std::move(group), rank == 1 ? 2 : -1, signals[i]);
        model::Transformer sharded = load_share(kSharded[0], {rank, kSize});
        sharded.gather_over(&member);
        velocity(sharded, kSharded[0], false, at::kCPU, {});
        return std::string("nothing thrown");
      });
    }
  }
  std::vector<std::unique_ptr<comm::Rendezvous>> meetings;
  for (const test::Announcement& address : addresses) {
    meetings.push_back(comm::make_store_rendezvous("127.0.0.1"));
    address.tell(meetings.back()->address(), kSize);
  }
  for (std::size_t i = 0; i < signals.size(); ++i) {
    CAPTURE(signals[i]);
    for (const std::size_t rank : {0, 2}) {
      const std::string outcome = groups[i][rank].outcome(kLong);
      CHECK_MESSAGE(outcome.find("rank 1 of 3 did not come within 6000 ms") != std::string::npos, outcome);
      CHECK_MESSAGE(outcome.find("all_gather Byte") != std::string::npos, outcome);
    }
  }
}

TEST_CASE("sharded blocks without a group are an error, not a wrong video") {
  test::Member member([] {
    const c10::InferenceMode inference;
    const model::Transformer sharded = load_share(kSharded[0], {0, 2});
    velocity(sharded, kSharded[0], false, at::kCPU, {});
    return std::string("nothing thrown");
  });
  CHECK(member.outcome(kLong) == "the transformer's blocks are sharded, and there is no group to gather them from");
}

#include "nightreel/cluster/gpu_map.h"

#include <doctest/doctest.h>

#include "nightreel/base/error.h"

using namespace nightreel;
using cluster::DeviceRequest;
using cluster::RankFacts;

namespace {

struct Rank {
  std::string host;
  std::vector<std::string> gpus;
};

std::vector<RankFacts> facts(const std::vector<Rank>& ranks, DeviceRequest request, bool share) {
  std::vector<RankFacts> out;
  std::vector<std::string> hosts;
  for (const Rank& one : ranks) {
    RankFacts fact;
    fact.rank = static_cast<int>(out.size());
    fact.host = one.host;
    fact.host_index = one.host[0];
    fact.request = request;
    fact.share_gpu = share;
    for (const std::string& uuid : one.gpus) fact.gpus.push_back({uuid, "H", 1});
    out.push_back(fact);
  }
  return out;
}

std::string text(const cluster::GpuMap& map) {
  if (!map.error.empty()) return "error: " + map.error;
  std::string out;
  for (const std::string& device : map.devices) out += (out.empty() ? "" : " ") + device;
  return out;
}

const std::vector<std::string> kFour{"A", "B", "C", "D"};
const std::vector<std::string> kOther{"E", "F", "G", "H"};
const std::vector<std::string> kNone;

}  // namespace

TEST_CASE("ranks get the GPUs that they can have, or a reason with ranks and hosts") {
  struct Case {
    const char* name;
    std::vector<Rank> ranks;
    DeviceRequest request;
    bool share;
    const char* expected;
  };
  constexpr auto kAuto = DeviceRequest::automatic;
  constexpr auto kCuda = DeviceRequest::cuda;
  const std::vector<Case> cases{
      {"all see all", {{"a", kFour}, {"a", kFour}, {"a", kFour}, {"a", kFour}}, kAuto, false, "A B C D"},
      {"fewer ranks than GPUs", {{"a", kFour}, {"a", kFour}}, kAuto, false, "A B"},
      {"two hosts with four each, ranks by node",
       {{"a", kFour},
        {"b", kOther},
        {"a", kFour},
        {"b", kOther},
        {"a", kFour},
        {"b", kOther},
        {"a", kFour},
        {"b", kOther}},
       kCuda,
       false,
       "A E B F C G D H"},
      {"one GPU bound to each task", {{"a", {"C"}}, {"a", {"A"}}}, kAuto, false, "C A"},
      {"two lists on one host", {{"a", {"A", "B"}}, {"a", {"C", "D"}}, {"a", {"A", "B"}}}, kAuto, false, "A C B"},
      {"cpu is cpu", {{"a", kFour}, {"b", kNone}}, DeviceRequest::cpu, false, "cpu cpu"},
      {"no GPU anywhere", {{"a", kNone}, {"b", kNone}}, kAuto, false, "cpu cpu"},
      {"five ranks for four GPUs",
       {{"x", kFour}, {"x", kFour}, {"x", kFour}, {"x", kFour}, {"x", kFour}},
       kAuto,
       false,
       "error: 5 ranks for 4 GPUs on host x (ranks 0, 1, 2, 3, 4 on host x): start one rank a GPU, or pass "
       "--share-gpu"},
      {"five ranks that share four",
       {{"x", kFour}, {"x", kFour}, {"x", kFour}, {"x", kFour}, {"x", kFour}},
       kAuto,
       true,
       "A B C D A"},
      {"the same UUID twice",
       {{"a", {"A"}}, {"a", {"A"}}},
       kAuto,
       false,
       "error: 2 ranks for 1 GPU on host a (ranks 0, 1 on host a see A alone): start one rank a GPU, or pass "
       "--share-gpu"},
      {"overlapping lists",
       {{"a", {"A", "B"}}, {"a", {"A"}}},
       kAuto,
       false,
       "error: ranks 0, 1 on host a have the same GPU A: start one rank a GPU, or pass --share-gpu"},
      {"two containers on one machine",
       {{"a", {"A"}}, {"b", {"A"}}},
       kAuto,
       false,
       "error: rank 0 on host a, rank 1 on host b have the same GPU A: start one rank a GPU, or pass --share-gpu"},
      {"shared on purpose", {{"a", {"A"}}, {"a", {"A"}}}, kCuda, true, "A A"},
      {"a rank without a GPU",
       {{"a", {"A"}}, {"a", kNone}},
       kAuto,
       false,
       "error: rank 1 on host a sees no GPU, others on the same host do: see CUDA_VISIBLE_DEVICES and the launcher's "
       "GPU binding"},
      {"a host without GPUs",
       {{"a", kFour}, {"b", kNone}, {"b", kNone}},
       kAuto,
       false,
       "error: there are GPUs on host a but none on host b (ranks 1, 2 on host b see no GPU): start on hosts with GPUs "
       "alone, or pass --device cpu"},
      {"cuda without a GPU",
       {{"a", kNone}},
       kCuda,
       false,
       "error: rank 0 on host a sees no GPU, and --device cuda was asked for"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.name);
    CHECK(text(cluster::assign_gpus(facts(one.ranks, one.request, one.share))) == one.expected);
  }
}

TEST_CASE("ranks that were asked for different things are refused") {
  auto ranks = facts({{"a", kFour}, {"b", kFour}}, DeviceRequest::cuda, false);
  ranks[1].request = DeviceRequest::cpu;
  CHECK(text(cluster::assign_gpus(ranks)) ==
        "error: rank 0 on host a was started with --device cuda and rank 1 on host b with --device cpu: give all ranks "
        "the same");
}

TEST_CASE("ranks that have one GPU, or slices of one, are named as sharing it") {
  const auto sharing = [](const std::vector<RankFacts>& ranks) { return cluster::assign_gpus(ranks).sharing; };
  CHECK(sharing(facts({{"a", kFour}, {"a", kFour}}, DeviceRequest::cuda, false)).empty());
  CHECK(sharing(facts({{"a", {"A"}}, {"a", {"A"}}}, DeviceRequest::cuda, false)).empty());  // refused
  CHECK(sharing(facts({{"a", {"A", "B"}}, {"a", {"A", "B"}}, {"a", {"A", "B"}}}, DeviceRequest::cuda, true)) ==
        "ranks 0, 2 on host a share the GPU A");
  CHECK(sharing(facts({{"a", {"A"}}, {"b", {"A"}}}, DeviceRequest::cuda, true)) ==
        "rank 0 on host a, rank 1 on host b share the GPU A");
  auto sliced = facts({{"a", {"M", "N", "O"}}, {"a", {"M", "N", "O"}}}, DeviceRequest::automatic, false);
  for (RankFacts& one : sliced) one.gpus[0].board = one.gpus[1].board = "A";
  CHECK(text(cluster::assign_gpus(sliced)) == "M N");
  CHECK(sharing(sliced) == "ranks 0, 1 on host a have slices of the GPU A");
  for (RankFacts& one : sliced) one.gpus[1].board = "B";
  CHECK(sharing(sliced).empty());
  CHECK(sharing(facts({{"a", kFour}, {"a", kFour}}, DeviceRequest::cpu, false)).empty());
}

TEST_CASE("facts survive the way to another rank, and garbage does not") {
  RankFacts sent;
  sent.rank = 3;
  sent.host = "b";
  sent.host_index = 1;
  sent.local_rank = 2;
  sent.pid = 77;
  sent.request = DeviceRequest::cuda;
  sent.share_gpu = true;
  sent.gpus = {{"GPU-1", "H", 8ULL << 40U}, {"MIG-1", "H", 8ULL << 30U, "GPU-2"}};
  const RankFacts got = cluster::rank_facts(cluster::to_json(sent));
  CHECK(cluster::to_json(got) == cluster::to_json(sent));
  CHECK(got.gpus == sent.gpus);
  CHECK(got.pid == 77);
  CHECK(got.local_rank == 2);
  for (const char* bad : {"", "{}", "[]", R"({"rank": "x"})"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(cluster::rank_facts(bad), base::Error);
  }
}

TEST_CASE("--device knows three words") {
  CHECK(cluster::parse_device_request("auto") == DeviceRequest::automatic);
  CHECK(cluster::parse_device_request("cpu") == DeviceRequest::cpu);
  CHECK(cluster::parse_device_request("cuda") == DeviceRequest::cuda);
  CHECK_THROWS_AS(cluster::parse_device_request("gpu"), base::Error);
}

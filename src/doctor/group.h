// Renderers that meet: one NCCL id a group (or a store's address), told over MPI; a sum that is checked; the exchanges
// that a video needs, measured and checked. What `bench comm` and doctor share.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/context.h"
#include "doctor/network.h"
#include "doctor/probe_renderer.h"

namespace nightreel::doctor {

inline constexpr std::chrono::milliseconds kWorldDeadline{60'000};  // for all ranks to have come

/// The exchanges of one 14B model's video among `size` GPUs: Ulysses' all-to-all of one of query, key and value in one
/// layer (40 heads of 128, bfloat16, tokens padded to the group), at both published sizes; the all-gather of the
/// prediction that guidance's two halves share; and that of the weights, in buckets of 512 MiB together.
std::vector<protocol::Transfer> wan_transfers(int size);

/// One exchange of each verb with about `bytes` a member.
std::vector<protocol::Transfer> plain_transfers(int size, std::uint64_t bytes);

struct GroupPlan {
  int group_size = 0;  // neighbours in rank order; the last group may be smaller. 0: all ranks in one
  bool gpu = false;    // NCCL, else the store
  int repeats = 3;
  std::uint64_t bytes = 0;  // a member's, of plain_transfers; 0: wan_transfers
  std::vector<Road> roads;  // by which the store, unlike NCCL, has to be told where to listen
};

struct GroupFacts {
  int group = 0;  // index
  std::vector<std::string> names;
  std::vector<std::string> verbs;
  std::vector<std::uint64_t> bytes;  // that a member sends
  std::vector<double> seconds;
  std::vector<bool> correct;
  std::string listens;  // the store's address among several hosts; empty: loopback, or NCCL, which finds its ways
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GroupFacts, group, names, verbs, bytes, seconds, correct, listens)

/// Collective: every rank with a renderer that runs. Throws Lost.
std::vector<Answer<GroupFacts>> probe_groups(const Context& context, ProbeRenderer& renderer, const GroupPlan& plan);

/// One exchange of one group: the slowest member's time, whether all members got every byte.
struct GroupResult {
  int group = 0;
  int size = 0;
  std::string name;
  std::string verb;
  std::uint64_t bytes = 0;  // that a member sends
  double seconds = 0;
  bool correct = false;
  /// Bytes that go through each member's link, a second: nccl-tests' bus bandwidth, in GB/s.
  double gigabytes_a_second() const;
};
/// Of groups all of whose members have facts.
std::vector<GroupResult> group_results(const std::vector<Answer<GroupFacts>>& answers);

/// Renderers that do not meet are a failure where they are `needed` to, for several ranks a video; else a warning.
/// Wrong bytes are a failure always: ranks read the weights together.
Findings judge_groups(const Places& places, const std::vector<Answer<GroupFacts>>& answers, bool gpu, bool needed);

/// Of ranks that share a GPU, which NCCL does not let meet; `sharing` says who.
Finding judge_sharing(const std::string& sharing, bool needed);

}  // namespace nightreel::doctor

#include "doctor/group.h"

#include <algorithm>
#include <map>
#include <sstream>

namespace nightreel::doctor {
namespace {

constexpr std::int64_t kElementBytes = 2;                     // bfloat16
constexpr std::int64_t kWidth = 40 * 128;                     // Wan 14B: heads times their dimension
constexpr std::int64_t kBucket = 512LL << 20U;                // bytes of weights that all members gather at once
constexpr std::int64_t kPrediction = 16 * 21 * 90 * 160 * 2;  // elements: float32 latents of 1280x720, 81 frames

// Tokens of 81 frames: latents are an eighth each way and a quarter in time, patches 1x2x2.
constexpr std::int64_t tokens(std::int64_t height, std::int64_t width) {
  return 21 * (height / 16) * (width / 16);
}

std::int64_t padded(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

struct Seat {
  int group = 0;
  int first = 0;  // rank of the group's first member
  int rank = 0;   // within the group
  int size = 1;
};

Seat seat_of(int rank, int world, int group_size) {
  const int wanted = group_size <= 0 ? world : std::min(group_size, world);
  const int first = rank / wanted * wanted;
  return {rank / wanted, first, rank - first, std::min(wanted, world - first)};
}

bool on_several_hosts(const Places& places, const Seat& seat) {
  const auto host = [&](int rank) { return places.at(static_cast<std::size_t>(rank)).host_index; };
  for (int rank = seat.first; rank < seat.first + seat.size; ++rank) {
    if (host(rank) != host(seat.first)) return true;
  }
  return false;
}

protocol::GroupRequest request_for(const Seat& seat, const GroupPlan& plan, std::chrono::milliseconds deadline) {
  protocol::GroupRequest request;
  request.backend = plan.gpu ? "nccl" : "store";
  request.rank = seat.rank;
  request.size = seat.size;
  request.deadline_ms = deadline.count();
  return request;
}

GroupFacts facts_of(int group, const protocol::ProbedEvent& event) {
  GroupFacts facts;
  facts.group = group;
  for (const auto& one : event.transfers) {
    facts.names.push_back(one.name);
    facts.verbs.push_back(one.verb);
    facts.bytes.push_back(one.bytes);
    facts.seconds.push_back(one.seconds);
    facts.correct.push_back(one.correct);
  }
  return facts;
}

// Its own address, empty for members; every rank learns all of them, or why there is none.
std::vector<Answer<std::string>> exchange_addresses(const Context& context, ProbeRenderer& renderer, const Seat& seat,
                                                    const protocol::GroupRequest& request, bool apart) {
  return gather_here<std::string>(context, "rendezvous", context.meeting(), [&] {
    if (apart && request.listen_on.empty()) {
      throw base::Error(base::ErrorKind::environment,
                        "no single address of its host is reached by all other hosts: a store listens on one");
    }
    return seat.rank == 0 ? renderer.make_rendezvous(request, context.patient.limit()) : std::string();
  });
}

std::string rounded(double value) {
  std::ostringstream text;
  text.precision(3);
  text << value;
  return text.str();
}

}  // namespace

std::vector<protocol::Transfer> wan_transfers(int size) {
  const auto attention = [&](std::int64_t height, std::int64_t width) {
    return padded(padded(tokens(height, width), size) / size * kWidth, size);
  };
  return {{"attention 832x480", "all_to_all", attention(480, 832)},
          {"attention 1280x720", "all_to_all", attention(720, 1280)},
          {"prediction 1280x720", "all_gather", kPrediction},
          {"weights", "all_gather", std::max<std::int64_t>(1, kBucket / kElementBytes / size)}};
}

std::vector<protocol::Transfer> plain_transfers(int size, std::uint64_t bytes) {
  const auto elements = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes) / kElementBytes);
  return {{"exchange", "all_to_all", padded(elements, size)}, {"gathering", "all_gather", elements}};
}

std::vector<Answer<GroupFacts>> probe_groups(const Context& context, ProbeRenderer& renderer, const GroupPlan& plan) {
  const Seat seat = seat_of(context.world.rank(), context.world.size(), plan.group_size);
  const auto limit = context.patient.limit();
  protocol::ProbeRequest request;
  request.what = "group";
  request.group = request_for(seat, plan, limit);
  const bool apart = !plan.gpu && on_several_hosts(context.places(), seat);
  if (apart) request.group.listen_on = meeting_address(context.places(), plan.roads, seat.first);
  const auto addresses = exchange_addresses(context, renderer, seat, request.group, apart);
  // Each call has the limit in the renderer, which names it; this one is for a renderer that says nothing.
  const auto all_calls = limit * 3 + std::chrono::seconds(plan.repeats);
  return gather_here<GroupFacts>(context, "the renderers' meeting", all_calls + context.meeting(), [&] {
    const auto& address = addresses.at(static_cast<std::size_t>(seat.first));
    if (!address.has_facts()) throw base::Error(base::ErrorKind::comm, "no rendezvous: " + address.problem);
    request.group.address = address.facts;
    request.transfers = plan.bytes == 0 ? wan_transfers(seat.size) : plain_transfers(seat.size, plan.bytes);
    request.repeats = plan.repeats;
    GroupFacts facts = facts_of(seat.group, renderer.probe(request, all_calls));
    facts.listens = request.group.listen_on;
    return facts;
  });
}

double GroupResult::gigabytes_a_second() const {
  if (seconds <= 0) return 0;
  const double others = size - 1;
  const double through = verb == "all_gather" ? static_cast<double>(bytes) * others
                                              : static_cast<double>(bytes) * others / std::max(1, size);
  return through / seconds / 1e9;
}

std::vector<GroupResult> group_results(const std::vector<Answer<GroupFacts>>& answers) {
  std::map<int, std::vector<const GroupFacts*>> groups;
  for (const auto& answer : answers) {
    if (answer.has_facts()) groups[answer.facts.group].push_back(&answer.facts);
  }
  std::vector<GroupResult> results;
  for (const auto& [group, members] : groups) {
    for (std::size_t i = 0; i < members.front()->names.size(); ++i) {
      const GroupFacts& one = *members.front();
      GroupResult result{group, static_cast<int>(members.size()), one.names[i], one.verbs[i], one.bytes[i], 0, true};
      for (const GroupFacts* member : members) {
        result.seconds = std::max(result.seconds, member->seconds.at(i));
        result.correct = result.correct && member->correct.at(i);
      }
      results.push_back(result);
    }
  }
  return results;
}

Finding judge_sharing(const std::string& sharing, bool needed) {
  const std::string why = sharing + ", and renderers of one GPU cannot meet over NCCL";
  if (!needed) return not_checked("nccl", why + "; with one rank a video they need not");
  return failure("nccl", why, "start one rank a GPU, or leave --ranks-per-video at 1");
}

Findings judge_groups(const Places& places, const std::vector<Answer<GroupFacts>>& answers, bool gpu, bool needed) {
  const std::string check = gpu ? "nccl" : "group";
  Findings out = failures_of(
      check, places, answers,
      gpu ? "NCCL_DEBUG=INFO says which link fails: see NCCL_SOCKET_IFNAME, firewalls between the hosts, /dev/shm, one "
            "NCCL on all hosts"
          : "open all TCP ports between the hosts; see interfaces");
  for (Finding& one : out) {
    if (needed) continue;
    one.text += "; runs of one rank a video go on, and each rank reads the weights itself";
    one.level = Level::warning;
  }
  if (!out.empty()) return out;
  const std::string who = std::to_string(places.size()) + (places.size() == 1 ? " renderer" : " renderers");
  std::string speeds;
  for (const auto& result : group_results(answers)) {
    if (!result.correct) {
      return {
          failure(check, result.verb + " of " + result.name + " among " + who + " brought wrong bytes",
                  "no video of this group can be trusted: try NCCL_P2P_DISABLE=1 (a switch or IOMMU that breaks peer "
                  "access), then the GPUs one by one")};
    }
    if (result.size > 1) {
      speeds += (speeds.empty() ? "; " : ", ") + result.verb + " of " + result.name + " at " +
                rounded(result.gigabytes_a_second()) + " GB/s";
    }
  }
  const std::string& listens = answers.front().facts.listens;
  const std::string where = gpu ? "NCCL" : "the store" + (listens.empty() ? "" : " at " + listens);
  return {ok(check, who + " met over " + where + ", their sum is right" + speeds)};
}

}  // namespace nightreel::doctor

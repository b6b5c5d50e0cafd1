// Which network addresses the ranks reach each other at.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "nightreel/base/error.h"
#include "nightreel/cluster/reachable.h"
#include "rank/startup.h"
#include "rank/startup_problem.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using Door = cluster::ProbeListener::Door;

constexpr std::chrono::milliseconds kProbeLimit{5000};

// "10.0.0.5 (not reached by rank 1 on host b), …", with the fix. `answers`: of `asked`, in their order.
std::string why_none(const cluster::World& world, const std::vector<Door>& doors,
                     const std::vector<std::string>& answers, const std::vector<int>& asked) {
  std::string out;
  for (std::size_t door = 0; door < doors.size(); ++door) {
    std::string ranks;
    for (std::size_t one = 0; one < answers.size(); ++one) {
      if (answers[one].at(door) != '1') ranks += (ranks.empty() ? "" : ", ") + world.name_of(asked[one]);
    }
    out += (door == 0 ? "" : "; ") + doors[door].address + " (not reached by " + ranks + ")";
  }
  return out.empty() ? "it has none but loopback" : out;
}

// What a rank lets others try, for as long as it lives.
class Offer {
 public:
  void open(const std::vector<std::string>& addresses) { listener_.emplace(addresses); }
  std::string to_text() const {
    json out{{"word", listener_ ? listener_->word() : ""}, {"doors", json::array()}};
    if (!listener_) return out.dump();
    for (const Door& door : listener_->doors()) out["doors"].push_back({door.address, door.port});
    return out.dump();
  }

 private:
  std::optional<cluster::ProbeListener> listener_;
};

struct Offered {
  std::string word;
  std::vector<Door> doors;
};

Offered offered_by(const std::string& text) {
  const json offer = json::parse(text);
  Offered out{offer.at("word"), {}};
  for (const auto& door : offer.at("doors")) out.doors.push_back({door.at(0), door.at(1)});
  return out;
}

}  // namespace

std::string agree_interface(cluster::World& world, const std::vector<std::string>& offered, int root) {
  Offer offer;
  do_together(world, "the network between the hosts", [&] {
    if (world.rank() == root) offer.open(offered);
  });
  const std::string whose = world.name_of(root);
  const Offered from_root =
      offered_by(world.broadcast(offer.to_text(), root, kWorldDeadline, "the addresses of " + whose));
  const auto answers = world.all_gather(cluster::try_doors(from_root.doors, from_root.word, kProbeLimit),
                                        kWorldDeadline, "the addresses of " + whose);
  if (const auto chosen = cluster::first_for_all(from_root.doors.size(), answers)) {
    return from_root.doors[*chosen].address;
  }
  std::vector<int> all(answers.size());
  std::iota(all.begin(), all.end(), 0);
  throw Error(ErrorKind::environment, "no network address of " + whose + " is reached by all ranks: " +
                                          why_none(world, from_root.doors, answers, all) +
                                          "; let the hosts reach each other, or name a Redis with --redis");
}

std::string agree_group_interface(cluster::World& world, const std::vector<int>& group) {
  const auto host_of = [&](int rank) { return world.places()[static_cast<std::size_t>(rank)].host_index; };
  const bool spread =
      std::any_of(group.begin(), group.end(), [&](int one) { return host_of(one) != host_of(group[0]); });
  Offer offer;
  do_together(world, "the network between the hosts", [&] {
    if (spread && world.rank() == group[0]) offer.open(cluster::host_addresses());
  });
  const auto offers = world.all_gather(offer.to_text(), kWorldDeadline, "the groups' addresses");
  const Offered first = offered_by(offers[static_cast<std::size_t>(group[0])]);
  const auto all = world.all_gather(spread ? cluster::try_doors(first.doors, first.word, kProbeLimit) : "",
                                    kWorldDeadline, "the groups' addresses");
  std::string chosen;
  world.throw_together(problem_of([&] {
                         if (!spread || world.rank() != group[0]) return;
                         std::vector<std::string> answers;
                         for (const int one : group) answers.push_back(all[static_cast<std::size_t>(one)]);
                         const auto door = cluster::first_for_all(first.doors.size(), answers);
                         if (!door) {
                           throw Error(ErrorKind::environment,
                                       "none of its network addresses is reached by its group: " +
                                           why_none(world, first.doors, answers, group) +
                                           "; let the hosts reach each other, or make groups within a host");
                         }
                         chosen = first.doors[*door].address;
                       }),
                       kWorldDeadline, "the groups' addresses");
  return chosen;
}

std::vector<queue::RedisAddress> agree_redis(cluster::World& world, const RunOptions& options,
                                             std::optional<queue::PrivateServer>& server, const base::Logger& log) {
  std::vector<queue::RedisAddress> addresses;
  std::vector<std::string> offered;
  const bool several = world.hosts().size() > 1;
  do_together(world, "the Redis", [&] {
    if (world.rank() != 0) return;
    if (const auto named = queue::find_redis(options.redis, queue::process_env)) addresses = *named;
    if (addresses.empty() && several) offered = cluster::host_addresses();
  });
  const bool own = world.broadcast(addresses.empty() ? "own" : "", 0, kWorldDeadline, "the Redis") == "own";
  const std::string interface = own && several ? agree_interface(world, offered) : "";
  world.throw_together(problem_of([&] {
                         if (world.rank() != 0 || !own) return;
                         queue::PrivateServerOptions wanted;
                         wanted.out = options.out;
                         wanted.interface = interface;
                         wanted.lease = std::chrono::seconds(options.lease_s);
                         wanted.log = log;
                         server.emplace(wanted);
                         addresses = {server->address()};
                       }),
                       std::chrono::minutes(2), "the Redis");
  return queue::addresses_from_json(world.broadcast(queue::to_json(addresses), 0, kWorldDeadline, "the Redis address"));
}

}  // namespace nightreel::rank

#include "doctor/network.h"

#include <ifaddrs.h>

#include <algorithm>
#include <future>
#include <memory>
#include <set>
#include <sstream>

#include "nightreel/cluster/reachable.h"

namespace nightreel::doctor {
namespace {

using base::Json;
using cluster::ProbeListener;

constexpr std::size_t kMostHosts = 64;  // that try each other
constexpr std::chrono::milliseconds kRoadLimit{5000};
constexpr std::size_t kShownRoads = 5;

std::vector<std::string> interface_names() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  std::set<std::string> names;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) names.insert(entry->ifa_name);
  return {names.begin(), names.end()};
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Whose doors this rank tries.
std::vector<int> targets(const Context& context) {
  std::vector<int> ranks;
  const auto& places = context.places();
  const bool all = context.world.hosts().size() <= kMostHosts;
  for (std::size_t r = 0; r < places.size(); ++r) {
    const bool other = places[r].local_rank == 0 && places[r].host_index != context.world.place().host_index;
    if (other && (all || r == 0)) ranks.push_back(static_cast<int>(r));
  }
  return ranks;
}

Json try_one(int rank, const Json& offer) {
  std::vector<ProbeListener::Door> doors;
  for (const Json& door : offer.at("doors")) doors.push_back({door.at(0), door.at(1)});
  const std::string answers = cluster::try_doors(doors, offer.at("word").get<std::string>(), kRoadLimit);
  Json by = Json::array();
  for (std::size_t i = 0; i < doors.size(); ++i) {
    if (answers.at(i) == '1') by.push_back(doors[i].address);
  }
  return {rank, by};
}

}  // namespace

NetworkFacts network_facts(const cluster::Environment& environment) {
  return {cluster::host_addresses(), interface_names(), environment("NCCL_SOCKET_IFNAME").value_or("")};
}

bool nccl_finds(const std::string& wanted, const std::vector<std::string>& interfaces) {
  const bool not_these = wanted.rfind('^', 0) == 0;
  const std::size_t skip = not_these ? 1 : 0;
  const bool whole = wanted.rfind('=', skip) == skip && wanted.size() > skip;
  std::vector<std::string> names;
  std::istringstream words(wanted.substr(skip + (whole ? 1 : 0)));
  for (std::string word; std::getline(words, word, ',');) names.push_back(word);
  const auto named = [&](const std::string& interface) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return whole ? interface == name : interface.rfind(name, 0) == 0;
    });
  };
  return std::any_of(interfaces.begin(), interfaces.end(),
                     [&](const std::string& interface) { return named(interface) != not_these; });
}

std::vector<Road> try_roads(const Context& context, const std::vector<Answer<NetworkFacts>>& answers) {
  if (context.world.hosts().size() < 2) return {};
  const auto& own = answers[static_cast<std::size_t>(context.world.rank())];
  std::unique_ptr<ProbeListener> listener;
  Json offer{{"word", ""}, {"doors", Json::array()}};
  if (context.first_of_host() && own.has_facts()) {
    listener = std::make_unique<ProbeListener>(own.facts.addresses);
    offer["word"] = listener->word();
    for (const auto& door : listener->doors()) offer["doors"].push_back({door.address, door.port});
  }
  const auto offers = exchange(context, dump(offer), "interfaces", context.meeting());
  std::vector<std::future<Json>> tries;
  if (context.first_of_host()) {
    for (const int rank : targets(context)) {
      tries.push_back(
          std::async(std::launch::async, try_one, rank, Json::parse(offers[static_cast<std::size_t>(rank)])));
    }
  }
  Json mine = Json::array();
  for (auto& one : tries) mine.push_back(one.get());
  // Its end is also the moment after which nobody needs the listener.
  const auto tried = exchange(context, dump(mine), "interfaces", context.meeting() + kRoadLimit);
  std::vector<Road> roads;
  for (std::size_t from = 0; from < tried.size(); ++from) {
    for (const Json& one : Json::parse(tried[from])) roads.push_back({static_cast<int>(from), one.at(0), one.at(1)});
  }
  return roads;
}

std::string meeting_address(const Places& places, const std::vector<Road>& roads, int rank) {
  const int host = places.at(static_cast<std::size_t>(rank)).host_index;
  std::vector<std::string> common;
  bool first = true;
  for (const Road& road : roads) {
    if (places.at(static_cast<std::size_t>(road.to)).host_index != host) continue;
    if (first) common = road.by;
    first = false;
    common.erase(std::remove_if(common.begin(), common.end(),
                                [&](const std::string& address) {
                                  return std::find(road.by.begin(), road.by.end(), address) == road.by.end();
                                }),
                 common.end());
  }
  return common.empty() ? "" : common.front();
}

Findings judge_network(const Places& places, const std::vector<Answer<NetworkFacts>>& answers,
                       const std::vector<Road>& roads) {
  Findings out = failures_of("interfaces", places, answers, "see ip address on that host");
  if (!out.empty()) return out;
  const auto nowhere = ranks_where(answers, [](const NetworkFacts& f) {
    return !f.nccl_interface.empty() && !nccl_finds(f.nccl_interface, f.interfaces);
  });
  if (!nowhere.empty()) {
    const auto& facts = answers[static_cast<std::size_t>(nowhere.front())].facts;
    out.push_back(failure("interfaces",
                          names_of(places, nowhere) + ": NCCL_SOCKET_IFNAME=" + facts.nccl_interface +
                              " names none of the interfaces " + listed(facts.interfaces),
                          "name one that every host has, or take NCCL_SOCKET_IFNAME out of the environment"));
  }
  std::string cut;
  std::size_t count = 0;
  for (const Road& road : roads) {
    if (road.reached() || ++count > kShownRoads) continue;
    cut += (cut.empty() ? "" : ", ") + places[static_cast<std::size_t>(road.from)].host + " to " +
           places[static_cast<std::size_t>(road.to)].host;
  }
  if (count > 0) {
    out.push_back(failure("interfaces",
                          std::to_string(count) + " of " + std::to_string(roads.size()) +
                              " ways between hosts are closed: " + cut + (count > kShownRoads ? ", …" : ""),
                          "open all TCP ports between the hosts of a run; a container needs an address of its own, or "
                          "the host's network"));
  }
  if (!out.empty()) return out;
  if (roads.empty()) return {ok("interfaces", "one host: the renderers meet on it")};
  return {ok("interfaces", "every host reaches the others; rank 0 has " + listed(answers.front().facts.addresses))};
}

}  // namespace nightreel::doctor

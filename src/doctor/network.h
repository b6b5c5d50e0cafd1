// The hosts' network interfaces: do the hosts reach each other on them, and does NCCL_SOCKET_IFNAME name one?
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "doctor/context.h"

namespace nightreel::doctor {

struct NetworkFacts {
  std::vector<std::string> addresses;   // that other hosts may reach
  std::vector<std::string> interfaces;  // all names, loopback among them
  std::string nccl_interface;           // NCCL_SOCKET_IFNAME; empty: not set
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NetworkFacts, addresses, interfaces, nccl_interface)

NetworkFacts network_facts(const cluster::Environment& environment);

/// Whether NCCL would find an interface by `wanted`: prefixes with commas between, "=" for whole names, "^" for all but
/// these (NCCL's user guide, NCCL_SOCKET_IFNAME).
bool nccl_finds(const std::string& wanted, const std::vector<std::string>& interfaces);

/// One host that another tried to reach.
struct Road {
  int from = 0;  // ranks, the first of their hosts
  int to = 0;
  std::vector<std::string> by;  // the addresses of `to` that answered
  bool reached() const { return !by.empty(); }
};

/// The first address of `rank`'s host that all other hosts reached; empty: there is none, or they did not try.
std::string meeting_address(const Places& places, const std::vector<Road>& roads, int rank);

/// Collective: the first rank of each host listens on its addresses for a moment, those of the other hosts try them.
/// Of all hosts each other, or with more than 64 hosts of rank 0's alone. Throws Lost.
std::vector<Road> try_roads(const Context& context, const std::vector<Answer<NetworkFacts>>& answers);

Findings judge_network(const Places& places, const std::vector<Answer<NetworkFacts>>& answers,
                       const std::vector<Road>& roads);

}  // namespace nightreel::doctor

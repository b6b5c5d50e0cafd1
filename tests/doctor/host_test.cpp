#include "doctor/host.h"

#include <limits>

#include "doctor/network.h"
#include "doctor/support.h"

namespace nightreel::doctor {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("shared memory is judged by who needs it") {
  struct Case {
    std::vector<int> ranks;  // of each host
    std::uint64_t free;
    bool gpus;
    Level level;
  };
  const std::vector<Case> cases{{{4}, 8192 * kMiB, true, Level::ok},  {{4}, 64 * kMiB, true, Level::warning},
                                {{1, 1}, 64 * kMiB, true, Level::ok},  // one rank a host shares with nobody
                                {{4}, 64 * kMiB, false, Level::ok},   {{4}, 0, true, Level::failure},
                                {{4}, kMiB, false, Level::warning}};
  for (const auto& one : cases) {
    const Places places = places_of(one.ranks);
    CAPTURE(one.free);
    check_says(judge_host(places, all_say(places, HostFacts{one.free, one.free, kAny, false}), one.gpus), "shm",
               one.level);
  }
}

TEST_CASE("a limit on locked memory matters with InfiniBand alone") {
  const Places places = places_of({2});
  auto facts = HostFacts{8192 * kMiB, 8192 * kMiB, 8 * kMiB, false};
  check_says(judge_host(places, all_say(places, facts), true), "memlock", Level::ok, {"8 MiB"});
  facts.infiniband = true;
  check_says(judge_host(places, all_say(places, facts), true), "memlock", Level::warning,
             {"ranks 0, 1 on host a", "8 MiB", "ulimit -l unlimited"});
  facts.memlock_bytes = kAny;
  check_says(judge_host(places, all_say(places, facts), true), "memlock", Level::ok, {"unlimited"});
}

TEST_CASE("this host has facts") {
  CHECK(host_facts().memlock_bytes > 0);
}

TEST_CASE("clocks are judged by what is certain, beyond the time that the message took") {
  const Places places = places_of({1, 1});
  struct Case {
    Skew skew;
    Level level;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases{{{0.01, 0.002}, Level::ok, {"within 10 ms"}},
                                {{-0.9, 0.001}, Level::ok, {}},
                                {{-1.5, 0.001}, Level::warning, {"rank 1 on host b", "chrony"}},
                                {{1.5, 0.6}, Level::ok, {}},  // a slow network proves nothing
                                {{3600, 0.001}, Level::failure, {"1 h"}}};
  for (const auto& one : cases) check_says({judge_clocks(places, {{0, 0}, one.skew})}, "clock", one.level, one.says);
  check_says({judge_clocks(places_of({1}), {{0, 0}})}, "clock", Level::not_checked);
}

NetworkFacts one_interface(const std::string& nccl = "") {
  return {{"10.0.0.1"}, {"eth0", "lo"}, nccl};
}

TEST_CASE("hosts that do not reach each other fail, the first few by name") {
  const Places places = places_of({1, 1, 1});
  const auto answers = all_say(places, one_interface());
  check_says(judge_network(places, answers, {{0, 1, {"10.0.0.2"}}, {1, 0, {"10.0.0.1"}}}), "interfaces", Level::ok,
             {"10.0.0.1"});
  check_says(judge_network(places, answers, {{0, 1, {"10.0.0.2"}}, {1, 0, {}}, {2, 0, {}}}), "interfaces",
             Level::failure, {"2 of 3", "b to a, c to a", "open all TCP ports"});
  const Places one_host = places_of({3});
  check_says(judge_network(one_host, all_say(one_host, one_interface()), {}), "interfaces", Level::ok, {"one host"});
}

TEST_CASE("renderers without NCCL meet on an address that all hosts reach") {
  const Places places = places_of({2, 1, 1});  // ranks 0, 2 and 3 are the first of their hosts
  const std::vector<Road> roads{{2, 0, {"10.0.0.1", "192.168.0.1"}}, {3, 0, {"192.168.0.1"}}, {0, 2, {"10.0.0.2"}}};
  CHECK(meeting_address(places, roads, 0) == "192.168.0.1");
  CHECK(meeting_address(places, roads, 1) == "192.168.0.1");
  CHECK(meeting_address(places, roads, 2) == "10.0.0.2");
  CHECK(meeting_address(places, roads, 3) == "");
  CHECK(meeting_address(places, {}, 0) == "");
}

TEST_CASE("an interface that NCCL is told of and that there is not fails") {
  const Places places = places_of({1, 1});
  auto answers = all_say(places, one_interface());
  answers[1].facts.nccl_interface = "ib";
  check_says(judge_network(places, answers, {{0, 1, {"10.0.0.2"}}}), "interfaces", Level::failure,
             {"rank 1 on host b: NCCL_SOCKET_IFNAME=ib", "eth0, lo"});
  answers[1].problem = "no answer within 5 s";
  check_says(judge_network(places, answers, {}), "interfaces", Level::failure, {"rank 1 on host b: no answer"});
}

TEST_CASE("NCCL's words for interfaces: prefixes, whole names, all but these") {
  const std::vector<std::string> have{"eth0", "eth1", "lo"};
  for (const auto& [wanted, found] : std::vector<std::pair<std::string, bool>>{{"eth", true},
                                                                               {"eth0", true},
                                                                               {"ib,eth1", true},
                                                                               {"ib", false},
                                                                               {"=eth", false},
                                                                               {"=eth1", true},
                                                                               {"=ib0,eth1", true},
                                                                               {"^lo", true},
                                                                               {"^eth,lo", false},
                                                                               {"^=eth", true}}) {
    CAPTURE(wanted);
    CHECK(nccl_finds(wanted, have) == found);
  }
}

}  // namespace
}  // namespace nightreel::doctor

#include "nightreel/cluster/reachable.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace nightreel::cluster;
using namespace std::chrono_literals;

TEST_CASE("every rank that knows the word reaches the doors, and only those that are open") {
  // Two addresses of this machine stand for two networks; 203.0.113.1 is nobody's (RFC 5737).
  const ProbeListener listener({"127.0.0.1", "203.0.113.1", "no address", "127.0.0.2"});
  REQUIRE(listener.doors().size() == 2);
  auto doors = listener.doors();
  CHECK(try_doors(doors, listener.word(), 60s) == "11");
  CHECK(try_doors(doors, listener.word(), 60s) == "11");  // every rank asks
  CHECK(try_doors(doors, "another word", 60s) == "00");
  const ProbeListener other({"127.0.0.1"});
  doors.push_back(other.doors().at(0));  // the same address, something else behind it
  doors.push_back({"127.0.0.3", listener.doors()[0].port});
  doors.push_back({"nonsense", 1});
  CHECK(try_doors(doors, listener.word(), 60s) == "11000");
}

TEST_CASE("a door that does not answer is given up at the limit") {
  const auto start = std::chrono::steady_clock::now();
  CHECK(try_doors({{"203.0.113.1", 9}, {"203.0.113.2", 9}}, "word", 300ms) == "00");
  CHECK(std::chrono::steady_clock::now() - start < 30s);  // the system itself gives up after minutes
}

TEST_CASE("the first door that all ranks reach is taken") {
  struct Row {
    std::size_t doors;
    std::vector<std::string> answers;
    std::optional<std::size_t> chosen;
  };
  const std::vector<Row> rows{
      {2, {"11", "11"}, 0},          {2, {"11", "01"}, 1},        {2, {"10", "01"}, std::nullopt},
      {3, {"111", "011", "101"}, 2}, {0, {"", ""}, std::nullopt}, {2, {"11", ""}, std::nullopt},
  };
  for (const Row& row : rows) CHECK(first_for_all(row.doors, row.answers) == row.chosen);
}

TEST_CASE("a host offers no address that only it reaches") {
  const auto addresses = host_addresses();
  for (const auto& address : addresses) {
    CAPTURE(address);
    CHECK(address.rfind("127.", 0) != 0);
    CHECK(address.rfind("169.254.", 0) != 0);
    CHECK(address.rfind("fe80", 0) != 0);
    CHECK(address != "::1");
  }
  const auto six = [](const std::string& address) { return address.find(':') != std::string::npos; };
  CHECK(std::is_partitioned(addresses.begin(), addresses.end(), [&](const auto& a) { return !six(a); }));
}

// The choice of a network address between ranks, under mpirun: addresses of this machine stand for networks.
#include <string>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "nightreel/cluster/mpi.h"
#include "rank/startup.h"
#include "support/error.h"

using namespace nightreel;
using test::contains;

namespace {
cluster::World* world = nullptr;
}

TEST_CASE("all ranks take the first address of rank 0's that all of them reach") {
  // 203.0.113.9 is nobody's (RFC 5737), so rank 0 cannot even listen there. What the others offer does not count.
  const std::vector<std::string> offered = world->rank() == 0
                                               ? std::vector<std::string>{"203.0.113.9", "127.0.0.2", "127.0.0.1"}
                                               : std::vector<std::string>{"127.0.0.3"};
  CHECK(rank::agree_interface(*world, offered) == "127.0.0.2");
}

TEST_CASE("without such an address every rank says the same, and the fix") {
  const auto thrown = test::thrown_by([] { rank::agree_interface(*world, {}); });
  CHECK(thrown.kind == base::ErrorKind::environment);
  CHECK(contains(thrown.message, "no network address of rank 0 on host"));
  CHECK(contains(thrown.message, "name a Redis with --redis"));
}

int main(int argc, char** argv) {
  cluster::World the_world(std::chrono::seconds(100));
  world = &the_world;
  const int failed = doctest::Context(argc, argv).run();
  return the_world.agree_exit_code(failed == 0 ? 0 : 1, std::chrono::seconds(100));
}

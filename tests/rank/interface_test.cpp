// What ranks agree on before the first job, under mpirun: a network address (addresses of this machine stand for
// networks), and the memory that equal GPUs are planned with.
#include <string>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "nightreel/cluster/mpi.h"
#include "nightreel/memory/model.h"
#include "rank/least_memory.h"
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

TEST_CASE("GPUs of one model are planned with the least that one of them has free, others with their own") {
  struct Case {
    std::vector<std::string> gpus;     // of the three ranks
    std::vector<std::uint64_t> bytes;  // free
    std::vector<std::uint64_t> planned;
  };
  const auto rank = static_cast<std::size_t>(world->rank());
  for (const Case& c :
       {Case{{"H", "H", "A"}, {80, 78, 70}, {78, 78, 70}}, Case{{"H", "A", "H"}, {80, 40, 80}, {80, 40, 80}},
        Case{{"cpu", "cpu", "cpu"}, {0, 0, 0}, {0, 0, 0}}, Case{{"H", "", "H"}, {80, 0, 79}, {79, 0, 79}}}) {
    rank::Loaded loaded;
    for (const std::string& gpu : c.gpus) loaded.on.push_back({"host", gpu, ""});
    if (!c.gpus[rank].empty()) {  // else its renderer is not up
      loaded.ready.emplace();
      loaded.ready->memory = memory::to_json(memory::DeviceMemory{{}, c.bytes[rank]});
    }
    rank::plan_as_equals(*world, loaded);
    if (loaded.ready) CHECK(memory::device_memory_from_json(loaded.ready->memory).bytes == c.planned[rank]);
  }
}

int main(int argc, char** argv) {
  cluster::World the_world(std::chrono::seconds(100));
  world = &the_world;
  const int failed = doctest::Context(argc, argv).run();
  return the_world.agree_exit_code(failed == 0 ? 0 : 1, std::chrono::seconds(100));
}

// Run under mpirun: every rank runs every case, and each case makes the same collective calls on all ranks.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/cluster/groups.h"
#include "nightreel/cluster/mpi.h"
#include "nightreel/cluster/shared_folder.h"
#include "support/comes.h"

using namespace nightreel;
using cluster::World;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kLong{100'000};  // what only a hang reaches

// Made by main before the cases: MPI starts once in a process.
World* world = nullptr;

std::string host_of(int rank) {
  return rank % 2 == 0 ? "a" : "b";
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

std::string thrown(const std::function<void()>& work) {
  try {
    work();
  } catch (const base::Error& e) {
    return std::string(base::traits(e.kind()).name) + ": " + e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("every rank knows its host, and its place among the ranks there") {
  REQUIRE(world->places().size() == static_cast<std::size_t>(world->size()));
  for (int r = 0; r < world->size(); ++r) {
    const cluster::Place& place = world->places()[static_cast<std::size_t>(r)];
    CHECK(place.host == host_of(r));
    CHECK(place.host_index == r % 2);
    CHECK(place.local_rank == r / 2);
    CHECK(place.local_size == (world->size() + 1 - r % 2) / 2);
  }
  CHECK(world->hosts().size() == (world->size() == 1 ? 1U : 2U));
  CHECK(world->name_of(world->rank()) ==
        "rank " + std::to_string(world->rank()) + " on host " + host_of(world->rank()));
  CHECK(cluster::mpi_version().find("MPI") != std::string::npos);
}

TEST_CASE("any bytes reach every rank, from every root and from all") {
  for (int root = 0; root < world->size(); ++root) {
    const std::string bytes = std::string("\0\xff", 2) + std::string(static_cast<std::size_t>(root) * 300000, 'x');
    CHECK(world->broadcast(world->rank() == root ? bytes : "ignored", root, kLong, "a test") == bytes);
  }
  const auto all = world->all_gather(std::string(static_cast<std::size_t>(world->rank()), 'y'), kLong, "a test");
  REQUIRE(all.size() == static_cast<std::size_t>(world->size()));
  for (std::size_t r = 0; r < all.size(); ++r) CHECK(all[r] == std::string(r, 'y'));
}

TEST_CASE("a problem of some ranks becomes the same error on all") {
  CHECK(thrown([] { world->throw_together(std::nullopt, kLong, "a test"); }) == "");
  const int last = world->size() - 1;
  const auto mine = world->rank() == last ? std::optional<std::string>("no disk\n") : std::nullopt;
  CHECK(thrown([&] { world->throw_together(mine, kLong, "a test"); }) ==
        "environment: " + world->name_of(last) + ": no disk\\x0a");
  std::string expected;
  for (int r = 0; r <= last; ++r) expected += (r == 0 ? "" : "; ") + world->name_of(r) + ": x" + std::to_string(r);
  CHECK(thrown([&] { world->throw_together("x" + std::to_string(world->rank()), kLong, "a test"); }) ==
        "environment: " + expected);
  // What all of them say is said once.
  const std::map<int, std::string> names{{1, "rank 0 on host a"},
                                         {2, "rank 0 on host a, rank 1 on host b"},
                                         {4, "ranks 0, 2 on host a, ranks 1, 3 on host b"}};
  CHECK(thrown([] { world->throw_together("no GPU", kLong, "a test"); }) ==
        "environment: " + names.at(world->size()) + ": no GPU");
}

TEST_CASE("the worst exit code is every rank's, in the documented order") {
  CHECK(cluster::worst_exit_code({}) == 0);
  CHECK(cluster::worst_exit_code({0, 7}) == 4);
  CHECK(cluster::worst_exit_code({4, 9}) == 4);
  const std::vector<int> order{4, 2, 3, 75, 1, 0};
  for (std::size_t worse = 0; worse < order.size(); ++worse) {
    for (std::size_t better = worse; better < order.size(); ++better) {
      CHECK(cluster::worst_exit_code({order[better], order[worse]}) == order[worse]);
      const bool odd = world->rank() == world->size() - 1;
      CHECK(world->agree_exit_code(odd ? order[worse] : order[better], kLong) == order[worse]);
    }
  }
}

TEST_CASE("a late rank is waited for without burning a core, and heard within half a second") {
  // All ranks are on this machine and have its clock.
  const auto now_s = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  for (const int late : {0, world->size() - 1}) {
    double slowest_s = 3600;
    for (int tries = 0; tries < 10 && slowest_s > 0.5; ++tries) {  // a busy machine may need several
      world->all_gather("", kLong, "a test");
      const double start_s = now_s();
      const double before = cpu_seconds();
      if (world->rank() == late) std::this_thread::sleep_for(milliseconds(500));
      const double came_s = now_s();
      CHECK(world->agree_exit_code(world->rank() == late ? 75 : 0, kLong) == 75);
      const double heard_s = now_s();
      CHECK(cpu_seconds() - before < 0.3 * (heard_s - start_s) + 0.1);
      const auto came = world->all_gather(std::to_string(came_s), kLong, "a test");
      const double late_s = std::stod(came.at(static_cast<std::size_t>(late)));
      CHECK(heard_s > late_s - 0.001);  // the text is rounded
      slowest_s = 0;
      for (const std::string& heard : world->all_gather(std::to_string(heard_s), kLong, "a test")) {
        slowest_s = std::max(slowest_s, std::stod(heard) - late_s);
      }
    }
    CHECK(slowest_s < 0.5);
  }
}

TEST_CASE("an idle rank may start the agreement and go on with other things") {
  cluster::ExitAgreement agreement = world->start_exit_agreement(world->rank() == 0 ? 1 : 0);
  std::optional<int> code;
  CHECK(test::comes([&] { return (code = agreement.test()).has_value(); }));
  CHECK(code == 1);
  CHECK(agreement.test() == 1);
}

TEST_CASE("a folder that all ranks see passes and is left as it was") {
  std::string folder = "cluster_shared_" + std::to_string(::getpid());
  folder = world->broadcast(folder, 0, kLong, "a test") + "/deep/out";
  CHECK(thrown([&] { cluster::check_shared_folder(*world, folder, kLong, kLong); }) == "");
  CHECK(std::filesystem::is_empty(folder));
  world->all_gather("", kLong, "a test");
  if (world->rank() == 0) std::filesystem::remove_all(std::filesystem::path(folder).parent_path().parent_path());
}

TEST_CASE("a folder that one rank does not share is named on all ranks") {
  if (world->size() == 1) return;
  const int odd = world->size() - 1;
  std::string folder = "cluster_other_" + std::to_string(::getpid());
  folder = world->broadcast(folder, 0, kLong, "a test");
  const std::string mine = world->rank() == odd ? folder + "_elsewhere" : folder;
  if (world->rank() == odd) std::filesystem::create_directory(mine);
  const std::string error = thrown([&] { cluster::check_shared_folder(*world, mine, milliseconds(700), kLong); });
  CHECK_MESSAGE(
      error.rfind("environment: " + world->name_of(odd) + ": " + folder + "_elsewhere is not the folder", 0) == 0,
      error);
  CHECK(error.find("; ") == std::string::npos);
  world->all_gather("", kLong, "a test");
  if (world->rank() == 0 || world->rank() == odd) std::filesystem::remove_all(mine);
}

TEST_CASE("a folder that rank 0 cannot make is rank 0's problem alone") {
  const std::string error =
      thrown([&] { cluster::check_shared_folder(*world, "/proc/no/such", milliseconds(300), kLong); });
  CHECK_MESSAGE(error.rfind("environment: " + world->name_of(0), 0) == 0, error);
  CHECK(error.find("; ") == std::string::npos);
}

TEST_CASE("a group's messages come whole and in order, and go to the group alone") {
  // Even and odd ranks; the last rank is in no group.
  std::vector<std::vector<int>> groups(2);
  for (int r = 0; r + 1 < world->size(); ++r) groups[static_cast<std::size_t>(r % 2)].push_back(r);
  const auto link = world->split(groups, kLong);
  const bool last = world->rank() + 1 == world->size();
  CHECK(link->ranks() == (last ? std::vector{world->rank()} : groups[static_cast<std::size_t>(world->rank() % 2)]));
  REQUIRE(link->ranks().at(link->index()) == world->rank());
  const std::string large(3U << 20U, 'x');  // beyond what MPI sends before the other side asks
  for (std::size_t to = 0; to < link->ranks().size(); ++to) {
    for (const std::string& text : {std::string(), "from " + std::to_string(world->rank()), large})
      link->send(to, text);
  }
  for (std::size_t from = 0; from < link->ranks().size(); ++from) {
    std::vector<std::string> got;
    const base::Stopwatch watch;
    while (got.size() < 3 && watch.seconds() < 60) {
      if (auto text = link->receive(from)) got.push_back(std::move(*text));
    }
    REQUIRE(got.size() == 3);
    CHECK(got[0].empty());
    CHECK(got[1] == "from " + std::to_string(link->ranks()[from]));
    CHECK(got[2] == large);
    CHECK_FALSE(link->receive(from));
  }
  world->all_gather("", kLong, "the end of the test");
}

TEST_CASE("what has come while a rank was away from MPI is found at its first look") {
  if (world->size() < 2) return;
  std::vector<int> all;
  for (int r = 0; r < world->size(); ++r) all.push_back(r);
  const auto link = world->split({all}, kLong);
  const std::string name = "nightreel-sent-" + std::to_string(::getpid());
  const std::string sent = world->broadcast(std::filesystem::temp_directory_path() / name, 0, kLong, "a file's name");
  const std::string away = sent + "-away";
  const auto is_made = [](const std::string& folder) {
    return test::comes([&] { return std::filesystem::exists(folder); });
  };
  if (world->rank() == 0) {
    CHECK(is_made(away));
    link->send(1, "word");
    std::filesystem::create_directory(sent);
  }
  if (world->rank() == 1) {
    std::filesystem::create_directory(away);
    CHECK(is_made(sent));
    CHECK(link->receive(0) == "word");
  }
  world->all_gather("", kLong, "the end of the test");
  if (world->rank() == 0) std::filesystem::remove(away);
  if (world->rank() == 0) std::filesystem::remove(sent);
}

TEST_CASE("a rank that does not listen holds up nobody") {
  if (world->size() < 2) return;
  std::vector<int> all;
  for (int r = 0; r < world->size(); ++r) all.push_back(r);
  const auto link = world->split({all}, kLong);
  const std::string large(1U << 20U, 'y');
  const base::Stopwatch watch;
  if (world->rank() == 0) {
    for (int i = 0; i < 20; ++i) link->send(1, large);
    CHECK(watch.seconds() < 60);  // rank 1 listens only when rank 0 has come here
  }
  world->all_gather("", kLong, "rank 0 has sent");
  int got = 0;
  while (world->rank() == 1 && got < 20 && watch.seconds() < 90) got += link->receive(0) ? 1 : 0;
  CHECK(got == (world->rank() == 1 ? 20 : 0));
  world->all_gather("", kLong, "the end of the test");
}

int main(int argc, char** argv) {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  ::setenv("NIGHTREEL_HOSTNAME", host_of(rank == nullptr ? 0 : std::atoi(rank)).c_str(), 1);
  const auto made = std::make_unique<World>(kLong);
  world = made.get();
  const int failed = doctest::Context(argc, argv).run();
  return made->agree_exit_code(failed, kLong);
}

// Run under mpirun: the last rank never comes to the agreement. The others must give up in time, with its name.
//
// mpirun ends all ranks as soon as one leaves without MPI_Finalize, whatever its exit code: so each rank that gave up
// as it should leaves a file and waits, and the last rank counts the files and prints the verdict that ctest reads.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/cluster/mpi.h"

using namespace nightreel;
using std::chrono::milliseconds;

namespace {

constexpr double kInTime_s = 60;  // of a deadline of one second: what only a rank that waits for ever reaches

std::string file_of(int rank) {
  return "missing_rank_" + std::to_string(::getppid()) + "_" + std::to_string(rank);
}

void give_up(cluster::World& world, const std::string& expected) {
  const base::Stopwatch watch;
  std::string text = "(agreed)";
  try {
    world.agree_exit_code(0, milliseconds(1000));
  } catch (const base::Error& e) {
    text = e.what();
  }
  std::fprintf(stderr, "rank %d after %.1f s: %s\n", world.rank(), watch.seconds(), text.c_str());
  if (text == expected && watch.seconds() < kInTime_s) base::replace_file(file_of(world.rank()), "");
  std::this_thread::sleep_for(std::chrono::seconds(600));  // until the last rank has counted
}

void judge(int others) {
  int good = 0;
  const base::Stopwatch watch;
  while (good < others && watch.seconds() < kInTime_s + 10) {
    std::this_thread::sleep_for(milliseconds(20));
    good = 0;
    for (int r = 0; r < others; ++r) good += std::filesystem::exists(file_of(r)) ? 1 : 0;
  }
  for (int r = 0; r < others; ++r) base::remove_file(file_of(r));
  std::fprintf(stderr, "verdict: %d of %d gave up as they should: %s\n", good, others,
               good == others ? "passed" : "failed");
}

}  // namespace

int main() {
  try {
    cluster::World world(milliseconds(100'000));
    const int missing = world.size() - 1;
    if (world.rank() == missing) judge(missing);
    if (world.rank() != missing) {
      give_up(world, "the exit code: " + world.name_of(missing) + " did not come in time");
    }
    std::fflush(stderr);
    ::_exit(1);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    ::_exit(1);
  }
}

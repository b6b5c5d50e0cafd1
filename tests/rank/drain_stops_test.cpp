// A drain loop that is asked to stop, or whose Redis or disk is gone.
#include <sys/resource.h>

#include <csignal>
#include <thread>

#include "rank/night.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

TEST_CASE_FIXTURE(Night, "a Redis that comes back in time costs nothing") {
  add("a", "step_ms=200");
  Rank one = rank();
  one.limits.queue_away_s = 20;
  std::jthread fault([&] {
    comes([&] { return jobs.lookup({"a"})[0].state == JobState::running; });
    server.kill();
    std::this_thread::sleep_for(1200ms);  // the job is rendered meanwhile
    server.start();
  });
  const auto summary = one.drain();
  fault.join();
  check_done("a", 1);
  CHECK(summary.error == "");
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a Redis that stays away ends the rank's work, and leaves no file and no process") {
  add("a", "step_ms=100");
  Rank one = rank();
  std::jthread fault([&] {
    comes([&] { return jobs.lookup({"a"})[0].state == JobState::running; });
    server.kill();
  });
  const auto summary = one.drain();
  fault.join();
  CHECK(summary.stopped_early);
  CHECK(summary.error_kind == "queue");
  CHECK(contains(summary.error, "gave up after"));
  CHECK(one.hurried);
  CHECK(!one.renderer.running());
  CHECK(!has_video("a"));
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a disk that takes nothing stops the rank before it uses up every job's attempts") {
  for (const char* id : {"a", "b", "c", "d"}) add(id, "a circle", {{"max_attempts", 1}});
  Rank one = rank();
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &none);  // of this process: the renderer and Redis have started
  const auto summary = one.drain();
  ::setrlimit(RLIMIT_FSIZE, &before);
  CHECK(summary.error_kind == "storage");
  CHECK(jobs.counts("run-1").failed <= 1);
  CHECK(jobs.counts("run-1").leased_by_run == 0);
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "asked to stop, a rank gives its leases back unused and at once") {
  for (const char* id : {"a", "b", "c"}) add(id, "step_ms=2000");
  Rank one = rank();
  std::jthread asker([&] {
    comes([&] { return jobs.lookup({"a"})[0].state == JobState::running; });
    one.signals.ask(rank::Ask::stop);
  });
  const base::Stopwatch watch;
  const auto summary = one.drain();
  asker.join();
  CHECK(watch.seconds() < 1.5);
  CHECK(summary.stopped_early);
  CHECK(summary.error == "");
  CHECK(one.hurried);
  for (const char* id : {"a", "b", "c"}) {
    CHECK(view(id).state == JobState::pending);
    CHECK(view(id).attempts == 0);
  }
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "asked to stop, a rank keeps the state of what it denoises, if that is quick") {
  add("a", "step_ms=30", {{"num_inference_steps", 900}});
  Rank one = rank();
  std::jthread asker([&] {
    comes([&] { return std::filesystem::exists(folder / "out") && jobs.lookup({"a"})[0].state == JobState::running; });
    std::this_thread::sleep_for(300ms);
    one.signals.ask(rank::Ask::stop);
  });
  one.drain();
  CHECK(view("a").state == JobState::pending);
  CHECK(std::stoi(base::read_file(folder / "out/checkpoints/a.h5", 100)) > 0);
}

TEST_CASE_FIXTURE(Night, "asked to finish, a rank ends what it has and claims no more") {
  for (const char* id : {"a", "b", "c"}) add(id, "step_ms=100");
  Rank one = rank();
  std::jthread asker([&] {
    comes([&] { return jobs.lookup({"a"})[0].state == JobState::running; });
    one.signals.ask(rank::Ask::finish);
  });
  const auto summary = one.drain();
  asker.join();
  CHECK(summary.stopped_early);
  check_done("a", 1);
  CHECK(view("c").state == JobState::pending);
}

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
  patience = 500ms;
  add("a", "until=killed");
  Rank one = rank();
  one.limits.queue_away_s = 3600;
  std::jthread fault([&] {
    CHECK(starts("a"));
    server.kill();
    folder.write("killed", "1");
    CHECK(comes([&] { return one.jobs.unanswered > 0; }));  // the job is rendered meanwhile
    server.start();
  });
  const auto summary = one.drain();
  fault.join();
  check_done("a", 1);
  CHECK(summary.error == "");
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a Redis that stays away ends the rank's work, and leaves no file and no process") {
  patience = 500ms;
  add("a", "until=killed");
  Rank one = rank();
  one.limits.queue_away_s = 1;
  std::jthread fault([&] {
    CHECK(starts("a"));
    server.kill();
    folder.write("killed", "1");
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

TEST_CASE_FIXTURE(Night, "while Redis is away OUT is looked at, and named where it takes nothing") {
  patience = 500ms;
  add("a", "until=never");
  Rank one = rank();
  one.limits.queue_away_s = 3600;
  std::jthread fault([&] {
    CHECK(starts("a"));
    server.kill();
    std::filesystem::rename(folder / "out/videos", folder / "videos");
  });
  const auto summary = one.drain();
  fault.join();
  CHECK(summary.stopped_early);
  CHECK(summary.error_kind == "storage");
  CHECK_MESSAGE(contains(summary.error, folder / "out/videos"), summary.error);
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
  for (const char* id : {"a", "b", "c"}) add(id, "step_ms=600000");
  double quickest_s = 3600;  // a busy machine may need several tries
  for (int tries = 0; tries < 10 && quickest_s > 1.5; ++tries) {
    Rank one = rank();
    base::Stopwatch since_asked;
    std::jthread asker([&] {
      CHECK(starts("a"));
      since_asked = base::Stopwatch();
      one.signals.ask(rank::Ask::stop);
    });
    const auto summary = one.drain();
    asker.join();
    quickest_s = std::min(quickest_s, since_asked.seconds());
    CHECK(summary.stopped_early);
    CHECK(summary.error == "");
    CHECK(one.hurried);
    for (const char* id : {"a", "b", "c"}) {
      CHECK(view(id).state == JobState::pending);
      CHECK(view(id).attempts == 0);
    }
    CHECK(litter() == 0);
  }
  CHECK(quickest_s < 1.5);
}

TEST_CASE_FIXTURE(Night, "asked to stop, a rank keeps the state of what it denoises, if that is quick") {
  renewal = 50ms;
  add("a", "step_ms=30", {{"num_inference_steps", 900}});
  const std::string state = folder / "out/checkpoints/a.h5";
  const auto is_saved = [&] { return std::filesystem::exists(state); };
  for (int tries = 0; tries < 10 && !is_saved(); ++tries) {  // on a busy machine it may not be quick
    Rank one = rank();
    std::jthread asker([&] {
      CHECK(starts("a"));
      CHECK(comes([&] { return view("a").progress.step > 0; }));
      one.signals.ask(rank::Ask::stop);
    });
    one.drain();
    asker.join();
    CHECK(view("a").state == JobState::pending);
  }
  REQUIRE(is_saved());
  CHECK(std::stoi(base::read_file(state, 100)) > 0);
}

TEST_CASE_FIXTURE(Night, "asked to finish, a rank ends what it has and claims no more") {
  add("a", "until=asked");
  add("b", "until=later");
  add("c", "a circle");
  Rank one = rank();
  std::jthread asker([&] {
    CHECK(starts("a"));
    CHECK(starts("b"));
    one.signals.ask(rank::Ask::finish);
    folder.write("asked", "1");
    CHECK(comes([&] { return view("a").state == JobState::done; }));
    std::this_thread::sleep_for(500ms);  // there would be room for "c"
    folder.write("later", "1");
  });
  const auto summary = one.drain();
  asker.join();
  CHECK(summary.stopped_early);
  check_done("a", 1);
  check_done("b", 1);
  CHECK(view("c").state == JobState::pending);
}

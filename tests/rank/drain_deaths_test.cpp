// A drain loop whose renderers die, hang, talk nonsense or report errors: who is charged, and when the rank steps down.
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "rank/night.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

TEST_CASE_FIXTURE(Night, "a renderer that dies, hangs or talks nonsense costs its job one attempt, whatever the way") {
  for (const char* how : {"kill", "exit", "garbage", "long", "flood", "stop", "hang"}) {
    add(how, std::string("at=denoise:2 do=") + how);
  }
  const auto summary = drain();
  CHECK(summary.error == "");
  CHECK(summary.jobs.size() == 7);
  for (const char* how : {"kill", "exit", "garbage", "long", "flood", "stop", "hang"}) check_done(how, 2);
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a renderer's end, garbage and flood are noticed within two seconds") {
  const std::vector<std::string> ways{"kill", "exit", "eat", "garbage", "long", "flood"};
  for (const auto& how : ways) add(how, "times=3 at=denoise:2 do=" + how, {{"max_attempts", 9}});
  drain();
  for (const auto& how : ways) {
    CAPTURE(how);
    check_done(how, 4);
    std::int64_t quickest = 3'600'000;
    int number = 0;
    for (const auto& event : told(how)) {
      if (!contains(event, "event delayed")) continue;
      const std::string done = base::read_file(folder / (how + "." + std::to_string(++number)), 100);
      quickest = std::min<std::int64_t>(quickest, std::stoll(event) - std::stoll(done));
    }
    CHECK(number == 3);
    CHECK(quickest < 2000);
  }
}

TEST_CASE_FIXTURE(Night, "a video that does not decode is not published, and made again") {
  add("torn", "at=encode:0 do=tear");
  drain();
  check_done("torn", 2);
  CHECK(contains(told("torn").at(2), "kind storage"));
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a renderer that hangs is noticed at the limit of the stage it is in, and at no other's") {
  using rank::StageLimits;
  struct Row {
    std::string prompt;
    double StageLimits::*limit;
    const char* said;
  };
  const std::vector<Row> rows{{"at=text:0 do=hang", &StageLimits::text, "stage 'text'"},
                              {"at=denoise:0 do=hang", &StageLimits::step, "stage 'denoise'"},
                              {"at=denoise:4 do=hang", &StageLimits::least, "stage 'denoise'"},  // after quick ones
                              {"at=decode:0 do=hang", &StageLimits::decode, "stage 'decode'"},
                              {"at=encode:0 do=hang", &StageLimits::encode, "stage 'encode'"}};
  for (const Row& row : rows) {
    CAPTURE(row.prompt);
    const std::string id = "job" + std::to_string(&row - rows.data());
    add(id, row.prompt);
    Rank one = rank();
    one.limits.stages = {5, 3600, 3600, 3600, 3600, 3600, 0, 3600};
    one.limits.stages.*row.limit = 2.5;
    const base::Stopwatch watch;
    CHECK(one.drain().error == "");
    CHECK(watch.seconds() > 2.5);
    check_done(id, 2);
    CHECK(contains(told(id).at(2), row.said));  // submitted, running, delayed
  }
}

TEST_CASE_FIXTURE(Night, "a lease is renewed as long as its video is within the limit of its stage") {
  add("a", "at=denoise:0 do=hang");
  lease = 2s;
  Rank one = rank();
  one.limits.stages.step = 5;
  CHECK(one.drain().error == "");
  check_done("a", 2);
  CHECK(contains(told("a").at(2), "event delayed"));  // not lease_lost
}

TEST_CASE_FIXTURE(Night, "a renderer that hangs while it loads again is ended at that limit, too") {
  add("a", "at=denoise:1 do=kill");
  loading_limit_s = 4;
  Rank one = rank();
  folder.write("load.hang", "1");
  CHECK(one.drain().error == "");
  check_done("a", 2);
}

TEST_CASE_FIXTURE(Night, "the job that was denoising is charged; one past denoising goes back free and runs alone") {
  add("writing", "encode_ms=1200");
  add("killer", "at=denoise:3 do=kill step_ms=30");
  add("last", "a circle");
  drain();
  check_done("writing", 1);
  check_done("killer", 2);
  check_done("last", 1);
  CHECK(field("writing", "alone") == "1");
  CHECK(field("killer", "alone") == "");
}

TEST_CASE_FIXTURE(Night, "where none was denoising the jobs in hand are charged") {
  add("writing", "at=encode:0 do=kill");
  drain();
  check_done("writing", 2);
  CHECK(field("writing", "alone") == "");
}

TEST_CASE_FIXTURE(Night, "a renderer that died while a job was being claimed costs that job nothing") {
  add("a", "a circle");
  Rank one = rank();
  one.jobs.on_claim = [&] {
    siginfo_t end{};
    REQUIRE(::kill(one.renderer.pid(), SIGKILL) == 0);
    REQUIRE(::waitid(P_PID, static_cast<id_t>(one.renderer.pid()), &end, WEXITED | WNOWAIT) == 0);
  };
  CHECK(one.drain().error == "");
  check_done("a", 1);
}

TEST_CASE_FIXTURE(Night, "a job that is to be alone shares its renderer with none") {
  for (const char* id : {"a", "alone", "b", "c"}) add(id, "step_ms=30 encode_ms=150");
  raw.command({"HSET", "nightreel:{default}:job:alone", "alone", "1"});
  add("killer", "step_ms=5", {{"priority", -1}});
  std::jthread watcher;
  std::size_t most = 0;
  {
    std::atomic<bool> over{false};
    watcher = std::jthread([&] {
      queue::RedisQueue mine(server.queue_options());
      while (!over) {
        bool there = false;
        std::size_t moving = 0;
        for (const auto& view : mine.list(JobState::running)) {
          there = there || (view.id == "alone" && !view.progress.stage.empty());
          moving += view.progress.stage.empty() ? 0 : 1;
        }
        if (there) most = std::max(most, moving);
        std::this_thread::sleep_for(5ms);
      }
    });
    lease = 300ms;  // renewals carry the stages, every 100 ms
    drain();
    over = true;
    watcher.join();
  }
  check_done("alone", 1);
  check_done("c", 1);
  CHECK(most <= 1);
}

TEST_CASE_FIXTURE(Night, "a job that always kills its renderer fails as poison, and the others are done") {
  add("poison", "at=denoise:1 do=kill times=99");
  for (const char* id : {"a", "b"}) add(id, "a circle");
  const auto summary = drain();
  CHECK(view("poison").state == JobState::failed);
  CHECK(view("poison").attempts == 3);
  CHECK(view("poison").poison);
  CHECK(contains(view("poison").error, "poison: attempt 3 of 3: the renderer died: signal 9 (Killed); its log "));
  CHECK(contains(view("poison").error, "renderer.log ends: last words"));
  check_done("a", view("a").attempts);
  check_done("b", view("b").attempts);
  CHECK(!summary.stopped_early);
}

TEST_CASE_FIXTURE(Night, "deaths between which steps are finished never make a rank step down") {
  add("a", "at=denoise:2 do=kill times=7", {{"max_attempts", 9}});
  const auto summary = drain();
  check_done("a", 8);
  CHECK(summary.error == "");
}

TEST_CASE_FIXTURE(Night, "five deaths without a finished step make a rank step down, and another goes on") {
  add("a", "at=text:0 do=kill");
  add("b", "a circle");
  Rank broken = rank();
  folder.write("load.kill", "4");
  const auto summary = broken.drain();
  CHECK(summary.stopped_early);
  CHECK(summary.error_kind == "renderer");
  CHECK(contains(summary.error, "stepped down after 5 renderer deaths in a row"));
  CHECK(contains(summary.error, "signal 9"));
  CHECK(!broken.renderer.running());
  CHECK(jobs.counts("run-1").leased_by_run == 0);
  const auto other = rank(1).drain();
  CHECK(other.error == "");
  check_done("a", 2);
  check_done("b", view("b").attempts);
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a renderer that comes back with another model ends the rank's work") {
  add("a", "at=denoise:2 do=kill");
  Rank one = rank();
  folder.write("digest", "m2");
  const auto summary = one.drain();
  CHECK(summary.error_kind == "environment");
  CHECK(contains(summary.error, "the model's files have changed"));
  CHECK(jobs.counts("run-1").leased_by_run == 0);
}

TEST_CASE_FIXTURE(Night, "errors that the renderer reports are retried, or final, and a broken device ends it") {
  add("job", "at=denoise:1 do=fail:job times=99");
  add("numeric", "at=denoise:1 do=fail:numeric times=99");
  add("device", "at=denoise:1 do=fail:device");
  add("comm", "at=decode:0 do=fail:comm");
  drain();
  CHECK(view("job").state == JobState::failed);
  CHECK(view("job").attempts == 1);
  CHECK(view("numeric").state == JobState::failed);
  CHECK(view("numeric").attempts == 2);
  check_done("device", 2);
  check_done("comm", 2);
}

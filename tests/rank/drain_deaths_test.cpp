// A drain loop whose renderers die, hang, talk nonsense or report errors: who is charged, and when the rank steps down.
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <thread>

#include "nightreel/rank/host_memory.h"
#include "rank/night.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

TEST_CASE_FIXTURE(Night, "a renderer's end, garbage and flood cost its job one attempt and are noticed within 2 s") {
  std::vector<std::string> left{"kill", "exit", "garbage", "long", "flood"};
  for (int tries = 0; tries < 5 && !left.empty(); ++tries) {  // a busy machine may need several
    const std::string again = std::to_string(tries);
    for (const auto& how : left) add(how + again, "at=denoise:2 do=" + how);
    const auto summary = drain();
    CHECK(summary.error == "");
    CHECK(summary.jobs.size() == left.size());
    std::vector<std::string> slow;
    for (const auto& how : left) {
      CAPTURE(how);
      check_done(how + again, 2);
      const auto events = told(how + again);  // submitted, running, delayed, …; behind another's death also released
      const auto delayed = std::find_if(events.begin(), events.end(),
                                        [](const std::string& event) { return contains(event, "event delayed"); });
      REQUIRE(delayed != events.end());
      const std::string done = base::read_file(folder / (how + again + ".1"), 100);
      if (std::stoll(*delayed) - std::stoll(done) >= 2000) slow.push_back(how);
    }
    left = slow;
  }
  for (const auto& how : left) FAIL_CHECK(how << " is noticed late");
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a renderer that its host had no memory for costs its job no attempt the first time") {
  add("once", "at=denoise:2 do=eat");
  CHECK(drain().error == "");
  check_done("once", 1);
  add("again", "at=denoise:2 do=eat times=2");
  CHECK(drain().error == "");
  check_done("again", 2);
  const auto events = told("again");  // submitted, running, released, running, delayed, …
  CHECK_MESSAGE(contains(events.at(2), "event released"), events.at(2));
  CHECK_MESSAGE(contains(events.at(4), "kind host_memory"), events.at(4));
  CHECK_MESSAGE(contains(events.at(4), "out of host memory: its log says"), events.at(4));
}

TEST_CASE_FIXTURE(Night, "a job that wants more memory than its host has fails for that, and is no poison") {
  add("large", "at=denoise:1 do=eat times=9");
  add("small", "a circle");
  const auto summary = drain();
  CHECK(summary.error == "");
  check_done("small", 1);
  CHECK(view("large").state == JobState::failed);
  CHECK(view("large").error_kind == "host_memory");
  CHECK_FALSE(view("large").poison);
  CHECK_FALSE(contains(view("large").error, "poison"));
}

TEST_CASE_FIXTURE(Night, "a host that has memory for no job ends the rank's work, and charges no job for good") {
  for (const char* id : {"a", "b", "c"}) add(id, "at=text:0 do=eat times=9");
  const auto summary = drain();
  CHECK(summary.error_kind == "host_memory");
  CHECK(contains(summary.error, "out of host memory"));
  CHECK(jobs.counts("").failed == 0);
}

TEST_CASE_FIXTURE(Night, "a host that has memory for steps and for nothing behind them ends the rank's work too") {
  for (const char* id : {"a", "b", "c"}) add(id, "at=denoise:2 do=eat times=9");
  const auto summary = drain();
  CHECK(summary.error_kind == "host_memory");
  CHECK(contains(summary.error, "for want of the host's memory, without one finished video"));
  CHECK(jobs.counts("").failed == 0);
}

TEST_CASE("which ends are the host's") {
  const rank::HostMemorySigns none;
  const auto why = [](const std::string& how, const std::string& words, rank::HostMemorySigns now,
                      std::uint64_t limit = 0) {
    return rank::why_host_memory(how, words, {7, 0}, now, limit);
  };
  CHECK(why("signal 6 (Aborted)", "what():  std::bad_alloc", none) != "");
  CHECK(why("exit code 1", "DefaultCPUAllocator: can't allocate memory: you tried", none) != "");
  CHECK(contains(why("signal 9 (Killed)", "", {8, 0}), "OOM killer"));
  CHECK(why("signal 9 (Killed)", "", {7, 0}) == "");
  CHECK(why("signal 11 (Segmentation fault)", "", {8, 100}) == "");
  CHECK(contains(why("signal 11 (Segmentation fault)", "", {7, 80}, 100), "ulimit -v"));
  CHECK(why("signal 11 (Segmentation fault)", "", {7, 70}, 100) == "");
  CHECK(why("exit code 3", "", {8, 100}, 100) == "");
}

TEST_CASE_FIXTURE(Night, "a video that does not decode is not published, and made again") {
  add("torn", "at=encode:0 do=tear");
  drain();
  check_done("torn", 2);
  CHECK(contains(told("torn").at(2), "kind storage"));
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "a renderer that is frozen is noticed by its silence") {
  add("stop", "at=denoise:2 do=stop", {{"max_attempts", 9}});
  silence_limit_s = 1;  // on a busy machine it may cost more attempts
  CHECK(drain().error == "");
  check_done("stop", view("stop").attempts);
  CHECK(view("stop").attempts >= 2);
  const std::string event = told("stop").at(2);  // a look adds a second at most to the limit
  CHECK_MESSAGE((contains(event, "hung: no event for 1 s") || contains(event, "hung: no event for 2 s")), event);
}

namespace {

struct Hang {
  std::string prompt;
  double rank::StageLimits::*limit;
  const char* said;
};

struct HungNight {
  std::string error;
  double took_s;
  queue::JobView job;
  bool has_video;
  std::vector<std::string> told;
};

/// A night in which one stage alone has a limit, of a second: a busy machine may cost more attempts.
HungNight night_of(const Hang& hang) {
  Night night;
  night.add("a", hang.prompt, {{"max_attempts", 9}});
  Rank one = night.rank();
  one.limits.stages = {3600, 3600, 3600, 3600, 3600, 3600, 0, 3600};
  one.limits.stages.*hang.limit = 1;
  const base::Stopwatch watch;
  const std::string error = one.drain().error;
  return {error, watch.seconds(), night.view("a"), night.has_video("a"), night.told("a")};
}

}  // namespace

TEST_CASE("a renderer that hangs is noticed at the limit of the stage it is in, and at no other's") {
  using rank::StageLimits;
  const std::vector<Hang> hangs{{"at=text:0 do=hang", &StageLimits::text, "stage 'text'"},
                                {"at=denoise:0 do=hang", &StageLimits::step, "stage 'denoise'"},
                                {"at=denoise:4 do=hang", &StageLimits::least, "stage 'denoise'"},  // after quick ones
                                {"at=decode:0 do=hang", &StageLimits::decode, "stage 'decode'"},
                                {"at=encode:0 do=hang", &StageLimits::encode, "stage 'encode'"}};
  std::vector<std::future<HungNight>> nights;
  for (const Hang& hang : hangs) nights.push_back(std::async(std::launch::async, night_of, hang));
  for (std::size_t i = 0; i < hangs.size(); ++i) {
    CAPTURE(hangs[i].prompt);
    const HungNight night = nights[i].get();
    CHECK(night.error == "");
    CHECK(night.took_s > 1);
    CHECK(night.job.state == JobState::done);
    CHECK(night.job.attempts >= 2);
    CHECK(night.has_video);
    CHECK(std::any_of(night.told.begin(), night.told.end(),
                      [&](const std::string& event) { return contains(event, hangs[i].said); }));
  }
}

TEST_CASE_FIXTURE(Night, "a lease is renewed as long as its video is within the limit of its stage") {
  std::int64_t neglected_ms = 3'600'000;
  for (int tries = 0; tries < 5 && neglected_ms > 700; ++tries) {  // a busy machine may need several
    const std::string id = "job" + std::to_string(tries);
    add(id, "at=denoise:0 do=hang", {{"max_attempts", 9}});
    Rank one = rank();
    one.limits.stages.step = 1.5;
    std::atomic<bool> over{false};
    std::int64_t renewed_until = 0;
    std::jthread watcher([&] {
      while (!over) {
        const queue::Reply end = raw.command({"ZSCORE", "nightreel:{default}:run", id});
        if (!end.is_nil() && told(id).size() == 2) renewed_until = std::max(renewed_until, end.integer());
        std::this_thread::sleep_for(5ms);
      }
    });
    CHECK(one.drain().error == "");
    over = true;
    watcher.join();
    check_done(id, view(id).attempts);
    CHECK(contains(told(id).at(2), "event delayed"));  // not lease_lost
    neglected_ms = std::stoll(told(id).at(2)) - (renewed_until - lease.count());
  }
  CHECK(neglected_ms < 700);
}

TEST_CASE_FIXTURE(Night, "a renderer that hangs while it loads again is ended at that limit, too") {
  add("a", "at=denoise:1 do=kill");
  loading_limit_s = 1;
  silence_limit_s = 3600;  // counts only for one that is ready
  Rank one = rank();
  folder.write("load.hang", "1");
  CHECK(one.drain().error == "");
  check_done("a", 2);
}

TEST_CASE_FIXTURE(Night, "the job that was denoising is charged; one past denoising goes back free and runs alone") {
  add("writing", "at=encode:0 do=hang");
  add("killer", "at=denoise:3 do=kill after=writing.1");
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
  for (const char* id : {"a", "b", "c"}) add(id, "step_ms=30 encode_ms=150");
  add("alone", "encode_until=watched");
  add("last", "step_ms=5", {{"priority", -1}});
  raw.command({"HSET", "nightreel:{default}:job:alone", "alone", "1"});
  renewal = 50ms;  // renewals carry the stages
  std::atomic<bool> over{false};
  std::size_t most = 0;
  std::jthread watcher([&] {
    base::Stopwatch watch;
    const base::Stopwatch since;
    while (!over) {
      bool there = false;
      std::size_t moving = 0;
      for (const auto& one : jobs.list(JobState::running)) {
        there = there || (one.id == "alone" && !one.progress.stage.empty());
        moving += one.progress.stage.empty() ? 0 : 1;
      }
      if (there) most = std::max(most, moving);
      if (!there && most == 0) watch = base::Stopwatch();
      const bool watched = there && watch.seconds() > 0.7;  // long enough for another to be claimed and begun
      if (watched || since.seconds() > 60) folder.write("watched", "1");
      std::this_thread::sleep_for(5ms);
    }
  });
  drain();
  over = true;
  watcher.join();
  check_done("alone", 1);
  check_done("c", 1);
  CHECK(most == 1);
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
  add("a", "at=denoise:2 do=kill times=5", {{"max_attempts", 9}});
  const auto summary = drain();
  check_done("a", 6);
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

TEST_CASE_FIXTURE(Night,
                  "a renderer that runs out of memory twice is started anew, told of the plan that was too large") {
  add("large", "at=denoise:2 step_ms=50 do=oom:decode=1000");
  add("next", "step_ms=1");
  add("last", "step_ms=1");
  const auto summary = drain();
  CHECK(summary.error == "");
  check_done("large", 2);
  check_done("next", 1);  // whether it waited at the renderer or not
  check_done("last", 1);
  CHECK(contains(told("large").at(2), "kind device_memory"));
  CHECK(base::read_file(folder / "started", 1000) == "\n--memory-failed decode=1000 \n");
}

TEST_CASE_FIXTURE(Night, "three jobs in a row that fail for one reason are told once") {
  for (const char* id : {"a", "b", "c", "d"}) add(id, "at=denoise:1 do=fail:numeric", {{"max_attempts", 1}});
  const auto summary = drain();
  CHECK(summary.repeated_kind == "numeric");
  CHECK(contains(summary.repeated_failure, "as the prompt says"));
}

TEST_CASE_FIXTURE(Night, "failures for several reasons are no one failure") {
  add("a", "at=denoise:1 do=fail:numeric", {{"max_attempts", 1}});
  add("b", "at=denoise:1 do=fail:numeric", {{"max_attempts", 1}});
  add("c", "at=denoise:1 do=fail:storage", {{"max_attempts", 1}});
  add("e", "at=denoise:1 do=fail:numeric", {{"max_attempts", 1}});
  add("f", "at=denoise:1 do=fail:numeric", {{"max_attempts", 1}});
  CHECK(drain().repeated_failure == "");
}

// A night whose queue is emptied, restarted without its data, or loses single records: every video is there at the end.
#include <thread>

#include "rank/night.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

namespace {

struct LosingNight : Night {
  LosingNight() { renewal = 50ms; }
  void add_all(int count, const std::string& first_prompt) {
    for (int i = 0; i < count; ++i) add("job" + std::to_string(i), i == 0 ? first_prompt : "a circle");
  }
  /// Drains with a list while `fault` is done to the queue during the first video.
  report::RankSummary drain_while(const std::function<void()>& fault) {
    Rank one = rank();
    const auto watch = one.watch(added);
    std::jthread doing([&] {
      CHECK(starts("job0"));
      fault();
      folder.write("go", "1");
    });
    return one.drain();
  }
  void check_all_videos() {
    for (const auto& job : added) {
      CAPTURE(job.id);
      CHECK(has_video(job.id));
      CHECK(view(job.id).state == JobState::done);
    }
    CHECK(litter() == 0);
  }
};

}  // namespace

TEST_CASE_FIXTURE(LosingNight, "a queue that is emptied costs no video") {
  add_all(6, "until=go");
  const auto summary = drain_while([&] { raw.command({"FLUSHALL"}); });
  CHECK(summary.error == "");
  check_all_videos();
}

TEST_CASE_FIXTURE(LosingNight, "jobs that vanish one by one, and those whose place in line does, cost no video") {
  add_all(6, "until=go");
  const auto summary = drain_while([&] {
    raw.command({"DEL", "nightreel:{default}:job:job3", "nightreel:{default}:job:job4"});
    raw.command({"ZREM", "nightreel:{default}:pend", "job5"});
  });
  CHECK(summary.error == "");
  check_all_videos();
}

TEST_CASE("a Redis without persistence that restarts costs no video") {
  struct Forgetful : LosingNight {
    TestServer forgetful{"appendonly no\n"};
  } night;
  Rank one(night.forgetful, night.folder.path(), night, 0);
  queue::RedisQueue jobs(night.forgetful.queue_options());
  std::vector<job::Job> added;
  for (const char* id : {"a", "b", "c"}) {
    const base::Json spec{{"id", id},
                          {"prompt", *id == 'a' ? "until=go" : "a circle"},
                          {"num_inference_steps", 4},
                          {"height", 16},
                          {"width", 16},
                          {"num_frames", 5}};
    added.push_back(job::parse_job(spec.dump(), {"/", ""}));
  }
  queue::submit_jobs(jobs, added, {});
  const auto watch = one.watch(added);
  std::jthread doing([&] {
    CHECK(comes([&] { return jobs.lookup({"a"}).at(0).state == JobState::running; }));
    night.forgetful.kill();
    night.forgetful.start();
    night.folder.write("go", "1");
  });
  CHECK(one.drain().error == "");
  for (const char* id : {"a", "b", "c"}) {
    CHECK(jobs.lookup({id}).at(0).state == JobState::done);
    CHECK(night.has_video(id));
  }
}

TEST_CASE_FIXTURE(LosingNight, "a rank believes in the end only when the first one has looked at its list") {
  add("job0", "a circle");
  Rank second = rank(1);
  second.listed = true;
  std::jthread first([&] {
    CHECK(comes([&] { return view("job0").state == JobState::done; }));
    add("late", "a circle");
    CHECK(comes([&] { return view("late").state == JobState::done; }));  // the rank is still there
    jobs.set_content("run-1");
  });
  CHECK(second.drain().jobs.size() == 2);
}

TEST_CASE_FIXTURE(LosingNight, "something else under a key of the queue stops the rank soon, by the key's name") {
  add_all(2, "until=go");
  const auto summary = drain_while([&] {
    raw.command({"DEL", "nightreel:{default}:inbox"});
    raw.command({"SET", "nightreel:{default}:inbox", "x"});
  });
  CHECK(summary.stopped_early);
  CHECK(summary.error_kind == "queue");
  CHECK_MESSAGE(contains(summary.error, "nightreel:{default}:inbox holds a string"), summary.error);
  CHECK(has_video("job0"));  // what was in hand is not thrown away
}

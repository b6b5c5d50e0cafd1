// A rank's night from its first claim to its last: what is done, what fails, what is left alone.
#include "nightreel/rank/drain.h"

#include <thread>

#include "nightreel/base/hash.h"
#include "rank/night.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::test;
using queue::JobState;

TEST_CASE_FIXTURE(Night, "every job ends as a whole set, and nothing temporary is left") {
  for (const char* id : {"a", "b", "c", "d"}) add(id, "a circle");
  const auto summary = drain();
  CHECK(summary.jobs.size() == 4);
  CHECK(!summary.stopped_early);
  CHECK(summary.error == "");
  for (const char* id : {"a", "b", "c", "d"}) {
    check_done(id, 1);
    CHECK(std::filesystem::exists(folder / ("out/archive/" + std::string(id) + ".h5")));
    CHECK(view(id).sha256 == base::sha256_file(video(id)));
  }
  CHECK(litter() == 0);
}

TEST_CASE_FIXTURE(Night, "files of earlier attempts are looked for where a job was claimed before, and only there") {
  add("first", "a circle");
  add("again", "at=denoise:1 do=kill");
  Rank one = rank();
  const std::string tag = ".mp4.0-" + jobs.incarnation() + ".part";
  for (const char* name : {"first", "again"}) base::replace_file(folder / "out/videos/." + name + tag, "left");
  one.drain();
  check_done("first", 1);
  check_done("again", 2);
  CHECK(std::filesystem::exists(folder / "out/videos/.first" + tag));
  CHECK(!std::filesystem::exists(folder / "out/videos/.again" + tag));
}

TEST_CASE_FIXTURE(Night, "a cancelled job and one past its timeout_s let the renderer go on with the next") {
  add("cancelled", "until=never");
  add("late", "until=never", {{"timeout_s", 0.3}, {"max_attempts", 1}});
  add("next", "a circle");
  std::jthread cancel([&] {
    CHECK(starts("cancelled"));
    CHECK(jobs.cancel("cancelled") == queue::Cancelled::asked);
  });
  const auto summary = drain();
  cancel.join();
  CHECK(view("cancelled").state == JobState::cancelled);
  CHECK(view("late").state == JobState::failed);
  CHECK(contains(view("late").error, "timeout_s"));
  check_done("next", 1);
  CHECK(litter() == 0);
  CHECK(summary.jobs.size() == 3);
}

TEST_CASE_FIXTURE(Night, "a rank that lost its lease publishes nothing of it and removes its files") {
  add("a", "encode_until=taken", {{"max_attempts", 9}});
  std::jthread taker([&] {
    CHECK(comes([&] { return view("a").progress.stage == "encode"; }));
    raw.command({"ZADD", "nightreel:{default}:run", "1", "a"});
    CHECK(jobs.claim(request(folder / "out")).lease);  // by "another rank"
    CHECK(litter() > 0);
    folder.write("taken", "1");
    CHECK(comes([&] { return litter() == 0; }));
    CHECK(!has_video("a"));
    raw.command({"ZADD", "nightreel:{default}:run", "1", "a"});
  });
  Rank one = rank();
  one.options.wait_for_all = true;
  one.drain();
  taker.join();
  check_done("a", 3);
}

TEST_CASE_FIXTURE(Night, "a job whose video stands is done without being rendered again") {
  add("a", "a circle");
  drain();
  const auto written = std::filesystem::last_write_time(video("a"));
  raw.command({"FLUSHALL"});
  add("a", "a circle");
  drain();
  check_done("a", 1);
  CHECK(std::filesystem::last_write_time(video("a")) == written);
  raw.command({"FLUSHALL"});
  add("a", "another circle");
  drain();
  CHECK(view("a").state == JobState::failed);
  CHECK(contains(view("a").error, "start the run with --overwrite; either way `nightreel retry a` first"));
}

TEST_CASE_FIXTURE(Night, "jobs that cannot be are failed one by one, whoever pushed them") {
  raw.command({"RPUSH", "nightreel:{default}:inbox", R"({"prompt": "x", "id": "../up"})"});
  queue::Submission lying{"b", "i", "h", R"({"spec":{"prompt":"x","id":"c"},"folder":"/"})", 0, 0};
  queue::Submission broken{"d", "i", "h", "{", 0, 0};
  jobs.submit({lying, broken}, {});
  add("a", "a circle");
  Rank one = rank();
  one.drain();
  check_done("a", 1);
  CHECK(view("b").state == JobState::failed);
  CHECK(view("d").state == JobState::failed);
  CHECK(jobs.counts("").failed == 3);
}

TEST_CASE_FIXTURE(Night, "an entry of the inbox that names a file is refused where there is no input root") {
  const std::string picture = folder.write("a.png", "x");
  raw.command({"RPUSH", "nightreel:{default}:inbox", R"({"id":"p","prompt":"x","image":")" + picture + "\"}"});
  raw.command({"RPUSH", "nightreel:{default}:inbox", R"({"prompt":"x","loras":[{"path":"/etc/shadow"}]})"});
  Rank one = rank();
  const auto summary = one.drain();
  REQUIRE(summary.rejects.size() == 2);
  for (const auto& job : summary.rejects) {
    CHECK_MESSAGE(contains(job.error, "an entry of the inbox may name a file only where the run has --input-root"),
                  job.error);
  }
}

TEST_CASE_FIXTURE(Night, "two ranks share the night; one's renderer deaths are nobody else's business") {
  for (int i = 0; i < 8; ++i) {
    add("job" + std::to_string(i), i % 3 == 0 ? "at=denoise:1 do=kill" : "step_ms=20 encode_ms=50");
  }
  Rank one = rank(0);
  Rank two = rank(1);
  report::RankSummary first;
  std::jthread other([&] { first = one.drain(); });
  const auto second = two.drain();
  other.join();
  CHECK(first.jobs.size() + second.jobs.size() == 8);
  for (int i = 0; i < 8; ++i) check_done("job" + std::to_string(i), i % 3 == 0 ? 2 : 1);
  CHECK(litter() == 0);
}

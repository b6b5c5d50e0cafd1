#include "nightreel/queue/status_text.h"

#include <doctest/doctest.h>

using namespace nightreel::queue;
using std::chrono::seconds;

namespace {

JobView running(const char* id, int rank, Progress progress) {
  JobView job;
  job.id = id;
  job.state = JobState::running;
  job.rank = rank;
  job.host = "node-b";
  job.run = "tonight";
  job.progress = std::move(progress);
  return job;
}

}  // namespace

TEST_CASE("the time left follows from the jobs that ended since the first look") {
  Pace pace;
  const Clock::time_point start;
  Counts counts;
  counts.done = 10;  // an earlier night's
  counts.pending = 6;
  pace.look(counts, start);
  CHECK_FALSE(pace.seconds_left());
  counts.pending = 3;
  counts.running = 1;
  pace.look(counts, start + seconds(10));
  CHECK_FALSE(pace.seconds_left());
  counts.done = 11;
  counts.failed = 1;
  pace.look(counts, start + seconds(20));
  REQUIRE(pace.seconds_left());
  CHECK(*pace.seconds_left() == doctest::Approx(40));  // 10 s each, 4 to go
}

TEST_CASE("totals count what waits in the inbox and behind a delay, and name cancelled jobs where there are any") {
  Counts counts;
  counts.done = 3;
  counts.inbox = 1;
  counts.pending = 2;
  counts.delayed = 4;
  CHECK(totals_line(counts, std::nullopt) == "3 done, 0 running, 7 waiting, 0 failed");
  counts.cancelled = 1;
  CHECK(totals_line(counts, 42.0) == "3 done, 0 running, 7 waiting, 0 failed, 1 cancelled, about 42 s left");
  CHECK(totals_line({}, 0.0) == "0 done, 0 running, 0 waiting, 0 failed");
}

TEST_CASE("a running job's line says what is known and no more, whatever a foreign writer put there") {
  CHECK(running_line(running("a", 3, {"denoise", 5, 20, 30.0})) ==
        "rank 3 (node-b)  a  denoise 5/20  [#####...............]  30 s left");
  CHECK(running_line(running("a", 3, {"text", {}, {}, {}})) == "rank 3 (node-b)  a  text");
  CHECK(running_line(running("a", 3, {"denoise", 99, 20, {}})) ==
        "rank 3 (node-b)  a  denoise 99/20  [####################]");
  CHECK(running_line(running("a", 3, {"denoise", 1, 0, {}})) == "rank 3 (node-b)  a  denoise");
  CHECK(running_line(running("a\x1b[2J", 3, {})).find('\x1b') == std::string::npos);
}

TEST_CASE("the live block has a line for each rank of the run, in rank order, and the totals") {
  JobView other = running("of another run", 0, {});
  other.run = "yesterday";
  JobView far = running("a rank that is not", 7, {});
  const auto lines = live_block({}, {running("second", 2, {}), running("first", 2, {"write", {}, {}, {}}), other, far},
                                "tonight", 3, std::nullopt);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "rank 0  idle");
  CHECK(lines[1] == "rank 1  idle");
  CHECK(lines[2] == "rank 2  second; first  write");
  CHECK(lines[3] == totals_line({}, std::nullopt));
}

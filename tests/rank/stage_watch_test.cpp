#include "nightreel/rank/stage_watch.h"

#include <doctest/doctest.h>

#include <thread>

#include "support/error.h"

using namespace nightreel;
using namespace nightreel::rank;
using test::contains;
using test::thrown_by;
using namespace std::chrono_literals;

namespace {

constexpr StageLimits kLimits{1, 2, 3, 4, 5, 6, 10, 0.001};

}  // namespace

TEST_CASE("each stage has its own limit, and before the first sign the text's holds") {
  StageWatch watch(kLimits);
  CHECK(watch.limit() == 2s);
  const std::vector<std::pair<const char*, std::chrono::milliseconds>> rows{
      {"text", 2s}, {"denoise", 3s}, {"decode", 4s}, {"encode", 5s}, {"publish", 6s}};
  for (const auto& [stage, limit] : rows) {
    CAPTURE(stage);
    watch.sign(stage, 0);
    CHECK(watch.limit() == limit);
  }
}

TEST_CASE("steps that were quick lower the limit of the next, which a new stage forgets") {
  StageLimits limits = kLimits;
  limits.step = 3600;
  StageWatch watch(limits);
  watch.sign("denoise", 7);  // a state was gone on from
  for (const std::int64_t step : {8, 9}) {
    watch.sign("denoise", step);
    CHECK(watch.limit() == 3600s);
  }
  std::this_thread::sleep_for(20ms);
  watch.sign("denoise", 10);
  CHECK(watch.limit() >= 200ms);  // ten times the longest
  CHECK(watch.limit() <= 10s);    // a look is worth a second at most
  watch.sign("decode", 0);
  CHECK(watch.limit() == 4s);
}

TEST_CASE("the lowered limit never goes below the least, nor above the stage's own") {
  StageLimits limits = kLimits;
  limits.times = 1e-3;  // whatever the machine does between two signs
  limits.least = 0.5;
  StageWatch watch(limits);
  for (std::int64_t step = 0; step < 5; ++step) watch.sign("denoise", step);
  CHECK(watch.limit() == 500ms);
  limits.least = 100;
  StageWatch other(limits);
  for (std::int64_t step = 0; step < 5; ++step) other.sign("denoise", step);
  CHECK(other.limit() == 3s);
}

TEST_CASE("only time in which somebody looked counts, and a video that waits its turn is not hung") {
  StageLimits limits = kLimits;
  limits.text = 1.05;
  StageWatch away(limits);
  const base::Stopwatch since;
  while (since.seconds() < 1.1) std::this_thread::sleep_for(10ms);
  away.look();
  CHECK_FALSE(away.hung());  // one look is worth a second at most
  CHECK(away.silent_s() <= 1);
  limits.text = 0.02;
  StageWatch watch(limits);
  std::this_thread::sleep_for(30ms);
  watch.wait();
  CHECK_FALSE(watch.hung());
  std::this_thread::sleep_for(30ms);
  watch.look();
  CHECK(watch.hung());
}

TEST_CASE("a user's limits replace the device's, stage by stage") {
  const GivenLimits given = parse_stage_limits("step=2h,text=90s");
  CHECK(given == GivenLimits{{"step", 7200}, {"text", 90}});
  CHECK(stage_limits(true, given).step == 7200);
  CHECK(stage_limits(false, given).step == 7200);
  CHECK(stage_limits(true, given).decode == StageLimits().decode);
  CHECK(stage_limits(false, {}).step > stage_limits(true, {}).step);
  CHECK(parse_stage_limits("").empty());
  const std::vector<std::pair<const char*, const char*>> bad{
      {"steps=2h", "'steps' is no stage; the stages are load, text, step, decode, encode, publish"},
      {"step", "needs a duration"},
      {"step=", "needs a duration"},
      {"step=@07:00", "needs a duration"},
      {"step=0s", "above zero"},
      {"step=soon", "soon"},
      {"step=2h,,text=3s", "'' is no stage"}};
  for (const auto& [text, said] : bad) {
    CAPTURE(text);
    const auto thrown = thrown_by([&, wrong = text] { parse_stage_limits(wrong); });
    CHECK(thrown.kind == base::ErrorKind::usage);
    CHECK(contains(thrown.message, said));
  }
}

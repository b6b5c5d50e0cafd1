// The rules of the drain loop that need no process: who is charged for a death, when to start again, the exit code.
#include <doctest/doctest.h>

#include "nightreel/rank/deaths.h"
#include "nightreel/rank/judgement.h"
#include "rank/fake_queue.h"
#include "support/comes.h"

using namespace nightreel;
using namespace nightreel::rank;

TEST_CASE("a death is charged to the job that was denoising, else to all that the renderer had") {
  using P = Phase;
  using C = Charge;
  struct Row {
    std::vector<Phase> phases;
    std::vector<Charge> charges;
  };
  const std::vector<Row> rows{
      {{}, {}},
      {{P::denoising}, {C::attempt}},
      {{P::finishing, P::denoising}, {C::bystander, C::attempt}},
      {{P::denoising, P::waiting}, {C::attempt, C::bystander}},
      {{P::finishing, P::waiting}, {C::attempt, C::attempt}},
      {{P::finishing}, {C::attempt}},
      {{P::waiting}, {C::attempt}},
      {{P::answered, P::denoising}, {C::none, C::attempt}},
      {{P::answered, P::finishing}, {C::none, C::attempt}},
      {{P::denoising, P::held_back}, {C::attempt, C::free}},
      {{P::answered, P::held_back}, {C::none, C::free}},
  };
  for (const Row& row : rows) CHECK(charge_death(row.phases) == row.charges);
}

TEST_CASE("the pause before a restart doubles, and five deaths without a finished step are too many") {
  Deaths deaths(0.02);
  for (const int expected_ms : {20, 40, 80, 160}) {
    const base::Stopwatch watch;
    deaths.died();
    REQUIRE(test::comes([&] { return deaths.may_restart(); }));
    CHECK(watch.seconds() * 1000 >= expected_ms);
    CHECK(!deaths.too_many());
  }
  deaths.died();
  CHECK(deaths.too_many());
  CHECK(!deaths.may_restart());
}

TEST_CASE("a finished step ends the row of deaths") {
  Deaths deaths(0);
  for (int i = 0; i < 20; ++i) {
    deaths.died();
    CHECK(!deaths.too_many());
    deaths.step_finished();
  }
  for (int i = 0; i < Deaths::kMost; ++i) deaths.died();
  CHECK(deaths.too_many());
}

TEST_CASE("a host has too little when three deaths were for that, of more than one job, and no video was finished") {
  Deaths deaths(0);
  for (int i = 0; i < Deaths::kMostOfHost; ++i) {
    deaths.died_of_host({"large"});
    deaths.step_finished();
    deaths.died();
    CHECK(!deaths.host_has_too_little());  // that one job wants too much
  }
  deaths.died_of_host({"small"});
  CHECK(deaths.host_has_too_little());
  deaths.video_finished();
  CHECK(!deaths.host_has_too_little());
  CHECK(deaths.in_a_row() == 0);
  for (int i = 0; i < Deaths::kMostOfHost; ++i) deaths.died_of_host({});  // while it loads
  CHECK(deaths.host_has_too_little());
}

namespace {

report::RankSummary rank_that(bool stopped_early, const std::string& error_kind = "") {
  report::RankSummary rank;
  rank.stopped_early = stopped_early;
  rank.error_kind = error_kind;
  return rank;
}

queue::JobView view(queue::JobState state, const std::string& run = "") {
  queue::JobView out;
  out.id = "a";
  out.state = state;
  out.run = run;
  return out;
}

}  // namespace

TEST_CASE("the exit code speaks of the jobs, what is left and what kept ranks from going on") {
  using S = queue::JobState;
  struct Row {
    const char* what;
    queue::JobView job;
    std::int64_t pending;
    std::vector<report::RankSummary> ranks;
    bool failed_ok;
    int code;
  };
  const std::vector<Row> rows{
      {"all done", view(S::done), 0, {rank_that(false)}, false, 0},
      {"failed", view(S::failed), 0, {rank_that(false)}, false, 1},
      {"failed, and that is fine", view(S::failed), 0, {rank_that(false)}, true, 0},
      {"stopped with work left", view(S::pending), 1, {rank_that(false), rank_that(true)}, false, 75},
      {"stopped, nothing left", view(S::done), 0, {rank_that(true)}, false, 0},
      {"one stepped down, the others did it all",
       view(S::done),
       0,
       {rank_that(true, "renderer"), rank_that(false)},
       false,
       0},
      {"all stepped down", view(S::delayed), 1, {rank_that(true, "renderer")}, false, 75},
      {"Redis away for good", view(S::pending), 1, {rank_that(true, "queue")}, false, 3},
      {"a disk that takes nothing", view(S::pending), 1, {rank_that(true, "storage"), rank_that(true)}, false, 3},
      {"a bug", view(S::pending), 1, {rank_that(true, "queue"), rank_that(true, "internal")}, false, 4},
      {"held by another run", view(S::running, "other"), 0, {rank_that(false)}, false, 0},
      {"cancelled", view(S::cancelled), 0, {rank_that(false)}, false, 0},
      {"lost by the queue", view(S::unknown), 0, {rank_that(false)}, false, 75},
      {"lost, and failures are fine", view(S::unknown), 0, {rank_that(false)}, true, 75},
      {"waits, though nobody stopped early", view(S::pending), 1, {rank_that(false)}, false, 75},
      {"held by this run, which ends", view(S::running, "this"), 0, {rank_that(false)}, false, 75},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    test::FakeQueue jobs;
    jobs.views["a"] = row.job;
    jobs.counted.pending = row.pending;
    report::RunSummary summary;
    summary.run = "this";
    summary.ranks = row.ranks;
    judge(jobs, {"a"}, row.failed_ok, summary);
    CHECK(summary.exit_code == row.code);
    CHECK(summary.held_elsewhere.size() == (row.job.run == "other" ? 1 : 0));
  }
}

TEST_CASE("what the run knows of a job that the queue has lost goes into the summary") {
  test::FakeQueue jobs;
  report::RunSummary summary;
  summary.ranks = {rank_that(false)};
  const auto own = [](const queue::JobView& now) {
    queue::JobView failed = now;
    failed.state = queue::JobState::failed;
    failed.error = "as it was";
    return now.id == "a" ? failed : now;
  };
  judge(jobs, {"a", "b"}, false, summary, own);
  CHECK(summary.exit_code == 75);  // b
  CHECK(summary.jobs.at(0).state == "failed");
  CHECK(summary.jobs.at(0).error == "as it was");
  CHECK(summary.jobs.at(1).state == "unknown");
  CHECK(summary.jobs.at(1).error.find("knows this job no more") != std::string::npos);
}

TEST_CASE("of refused inbox entries the first hundred are named, and all are counted") {
  test::FakeQueue jobs;
  report::RunSummary summary;
  summary.ranks = {rank_that(false), rank_that(false)};
  for (auto& rank : summary.ranks) {
    for (int i = 0; i < 70; ++i) rank.rejects.push_back({"inbox-" + std::to_string(i), "failed", "", "job", "no"});
    rank.rejected = 5000;
    rank = report::rank_summary(report::to_json(rank));
  }
  judge(jobs, {}, false, summary);
  CHECK(summary.exit_code == 1);
  CHECK(summary.jobs.size() == 100);
  CHECK(summary.rejected == 10'000);
  CHECK(report::to_json(summary).find("\"failed\": 10000,") != std::string::npos);
}

TEST_CASE("jobs that ended on a rank count although they are in no file") {
  test::FakeQueue jobs;
  report::RunSummary summary;
  summary.ranks = {rank_that(false)};
  summary.ranks[0].jobs = {{"pushed", "failed", "", "job", "no"}};
  judge(jobs, {}, false, summary);
  CHECK(summary.exit_code == 1);
  REQUIRE(summary.jobs.size() == 1);
  CHECK(summary.jobs[0].id == "pushed");
}

TEST_CASE("a Redis that is away at the end is part of the summary, not the end of it") {
  test::FakeQueue jobs;
  jobs.away = true;
  report::RunSummary summary;
  summary.ranks = {rank_that(false)};
  judge(jobs, {"a"}, false, summary);
  CHECK(summary.exit_code == 3);
  CHECK(summary.error == "Redis is away");
}

TEST_CASE("a rank's summary comes back as it was sent") {
  report::RankSummary sent = rank_that(true, "renderer");
  sent.rank = 3;
  sent.host = "node";
  sent.error = "five deaths";
  sent.jobs = {{"a", "failed", "", "storage", "no room"}};
  const report::RankSummary got = report::rank_summary(report::to_json(sent));
  CHECK(got.rank == 3);
  CHECK(got.stopped_early);
  CHECK(got.error_kind == "renderer");
  CHECK(got.error == "five deaths");
  CHECK(got.jobs.at(0).error == "no room");
  CHECK_THROWS_AS(report::rank_summary("{}"), base::Error);
}

#include "nightreel/report/run_summary.h"

#include <doctest/doctest.h>

#include "nightreel/base/error.h"
#include "support/error.h"

namespace nightreel::report {
namespace {

using nlohmann::json;

RankSummary rank_of(int rank, std::vector<JobResult> jobs) {
  RankSummary summary;
  summary.rank = rank;
  summary.host = "a";
  summary.device = "GPU-" + std::to_string(rank);
  summary.jobs = std::move(jobs);
  return summary;
}

const JobResult kDone{"one", "done", "videos/one.mp4", "", ""};
const JobResult kFailed{"two", "failed", "", "out_of_memory", "needs 30 GiB"};
const JobResult kCancelled{"three", "cancelled", "", "", ""};

TEST_CASE("a rank's share survives the way to rank 0") {
  RankSummary sent = rank_of(3, {kDone, kFailed, kCancelled});
  sent.stopped_early = true;
  sent.group = {2, 3};
  sent.group_changes = {"left its group"};
  sent.repeated_kind = "device_memory";
  sent.repeated_failure = "out of memory";
  const RankSummary got = rank_summary(to_json(sent));
  CHECK(to_json(got) == to_json(sent));
  CHECK(got.rank == 3);
  CHECK(got.stopped_early);
  CHECK(got.group == std::vector<int>{2, 3});
  CHECK(got.group_changes == std::vector<std::string>{"left its group"});
  REQUIRE(got.jobs.size() == 3);
  CHECK(got.jobs[0].video == "videos/one.mp4");
  CHECK(got.jobs[1].error_kind == "out_of_memory");
  CHECK(got.jobs[1].error == "needs 30 GiB");
  CHECK(got.jobs[2].video.empty());
}

TEST_CASE("what several jobs in a row failed of stands in the run's summary, else null") {
  RunSummary summary;
  summary.ranks = {rank_of(0, {}), rank_of(1, {})};
  CHECK(json::parse(to_json(summary)).at("repeated_failure").is_null());
  summary.ranks[1].repeated_kind = "device_memory";
  summary.ranks[1].repeated_failure = "out of memory";
  const json told = json::parse(to_json(summary)).at("repeated_failure");
  CHECK(told == json{{"kind", "device_memory"}, {"message", "out of memory"}});
}

TEST_CASE("a name in no encoding reaches the summary as text") {
  const JobResult odd{"one", "failed", "", "storage", "disk \xff full"};
  CHECK(rank_summary(to_json(rank_of(0, {odd}))).jobs[0].error == "disk \xEF\xBF\xBD full");
  RunSummary summary;
  summary.jobs = {odd};
  CHECK_NOTHROW(json::parse(to_json(summary)));
}

TEST_CASE("what is no rank's share is refused") {
  const std::string good = to_json(rank_of(0, {kFailed}));
  const std::vector<std::string> damaged{
      "",
      "[]",
      "7",
      good.substr(0, good.size() / 2),
      json::parse(good).patch({{{"op", "remove"}, {"path", "/host"}}}).dump(),
      json::parse(good).patch({{{"op", "replace"}, {"path", "/rank"}, {"value", "0"}}}).dump(),
      json::parse(good).patch({{{"op", "replace"}, {"path", "/jobs"}, {"value", 1}}}).dump(),
      json::parse(good).patch({{{"op", "remove"}, {"path", "/jobs/0/id"}}}).dump(),
      json::parse(good).patch({{{"op", "remove"}, {"path", "/jobs/0/error/kind"}}}).dump()};
  for (const auto& text : damaged) {
    INFO(text);
    const auto error = test::thrown_by([&] { rank_summary(text); });
    CHECK(error.kind == base::ErrorKind::environment);
    CHECK(test::contains(error.message, "a rank's summary cannot be read"));
    CHECK_FALSE(test::contains(error.message, "json.exception"));
  }
}

TEST_CASE("RUN.json counts the run's jobs, and what each rank did") {
  RunSummary summary;
  summary.run = "night";
  summary.started_ms = 1'000;
  summary.ended_ms = 3'600'000;
  summary.model_digest = "abc";
  summary.ranks = {rank_of(0, {kDone}), rank_of(1, {kDone, kFailed})};
  summary.ranks[1].stopped_early = true;
  summary.jobs = {kDone, kDone, kFailed, kCancelled};
  summary.held_elsewhere = {"four"};
  summary.exit_code = 75;
  summary.launcher_job = "4711_3";
  const json file = json::parse(to_json(summary));
  CHECK(file["run"] == "night");
  CHECK(file["started"] == "1970-01-01T00:00:01.000Z");
  CHECK(file["ended"] == "1970-01-01T01:00:00.000Z");
  CHECK(file["model_digest"] == "abc");
  CHECK(file["done"] == 2);
  CHECK(file["failed"] == 1);
  CHECK(file["cancelled"] == 1);
  CHECK(file["held_elsewhere"] == json{"four"});
  CHECK(file["exit_code"] == 75);
  CHECK(file["launcher_job"] == "4711_3");
  REQUIRE(file["ranks"].size() == 2);
  CHECK(file["ranks"][1]["device"] == "GPU-1");
  CHECK(file["ranks"][1]["done"] == 1);
  CHECK(file["ranks"][1]["stopped_early"] == true);
  REQUIRE(file["jobs"].size() == 4);
  CHECK(file["jobs"][0]["video"] == "videos/one.mp4");
  CHECK(file["jobs"][0]["error"].is_null());
  CHECK(file["jobs"][2]["video"].is_null());
  CHECK(file["jobs"][2]["error"] == json{{"kind", "out_of_memory"}, {"message", "needs 30 GiB"}});
}

}  // namespace
}  // namespace nightreel::report

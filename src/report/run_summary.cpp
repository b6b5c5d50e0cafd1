#include "nightreel/report/run_summary.h"

#include <algorithm>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::report {
namespace {

using Json = nlohmann::json;

Json job_json(const JobResult& job) {
  Json out{{"id", job.id}, {"state", job.state}, {"video", nullptr}, {"error", nullptr}};
  if (!job.video.empty()) out["video"] = job.video;
  if (!job.model_digest.empty()) out["model_digest"] = job.model_digest;
  if (!job.error.empty()) out["error"] = {{"kind", job.error_kind}, {"message", job.error}};
  return out;
}

JobResult job_result(const Json& json) {
  JobResult job{json.at("id").get<std::string>(), json.at("state").get<std::string>(), "", "", ""};
  if (!json.at("video").is_null()) job.video = json.at("video").get<std::string>();
  if (!json.at("error").is_null()) {
    job.error_kind = json.at("error").at("kind").get<std::string>();
    job.error = json.at("error").at("message").get<std::string>();
  }
  return job;
}

Json jobs_json(const std::vector<JobResult>& jobs) {
  Json out = Json::array();
  for (const auto& job : jobs) out.push_back(job_json(job));
  return out;
}

std::int64_t count(const std::vector<JobResult>& jobs, const std::string& state) {
  return std::count_if(jobs.begin(), jobs.end(), [&](const JobResult& job) { return job.state == state; });
}

Json error_json(const std::string& kind, const std::string& message) {
  return kind.empty() ? Json(nullptr) : Json{{"kind", kind}, {"message", message}};
}

// An error's message may hold a file name in any encoding.
std::string dump(const Json& json, int indent) {
  return base::dump_json(json, indent);
}

// Of refused inbox entries a hundred stand among the jobs.
std::int64_t failed(const RunSummary& summary) {
  std::size_t named = 0;
  for (const auto& rank : summary.ranks) named += rank.rejects.size();
  return count(summary.jobs, "failed") + summary.rejected - static_cast<std::int64_t>(std::min(named, kNamedRejects));
}

}  // namespace

std::string to_json(const RankSummary& summary) {
  return dump({{"rank", summary.rank},
               {"host", summary.host},
               {"device", summary.device},
               {"group", summary.group},
               {"group_changes", summary.group_changes},
               {"stopped_early", summary.stopped_early},
               {"error", error_json(summary.error_kind, summary.error)},
               {"repeated_failure", error_json(summary.repeated_kind, summary.repeated_failure)},
               {"rejects", jobs_json(summary.rejects)},
               {"rejected", summary.rejected},
               {"jobs", jobs_json(summary.jobs)}},
              -1);
}

RankSummary rank_summary(const std::string& text) {
  try {
    const Json json = base::parse_json(text);
    RankSummary out;
    json.at("rank").get_to(out.rank);
    json.at("host").get_to(out.host);
    json.at("device").get_to(out.device);
    json.at("group").get_to(out.group);
    json.at("group_changes").get_to(out.group_changes);
    json.at("stopped_early").get_to(out.stopped_early);
    if (const Json& error = json.at("error"); !error.is_null()) {
      out.error_kind = error.at("kind").get<std::string>();
      out.error = error.at("message").get<std::string>();
    }
    if (const Json& repeated = json.at("repeated_failure"); !repeated.is_null()) {
      out.repeated_kind = repeated.at("kind").get<std::string>();
      out.repeated_failure = repeated.at("message").get<std::string>();
    }
    for (const auto& job : json.at("jobs")) out.jobs.push_back(job_result(job));
    for (const auto& job : json.at("rejects")) out.rejects.push_back(job_result(job));
    json.at("rejected").get_to(out.rejected);
    return out;
  } catch (const std::exception&) {  // a library's words about it would tell nobody anything
    throw base::Error(base::ErrorKind::environment,
                      "a rank's summary cannot be read: it is none of this build's; install one build on all hosts");
  }
}

std::string to_json(const RunSummary& summary) {
  Json ranks = Json::array();
  Json repeated;  // the first rank's that tells of one
  for (const auto& rank : summary.ranks) {
    if (repeated.is_null()) repeated = error_json(rank.repeated_kind, rank.repeated_failure);
    ranks.push_back({{"rank", rank.rank},
                     {"host", rank.host},
                     {"device", rank.device},
                     {"group", rank.group},
                     {"group_changes", rank.group_changes},
                     {"stopped_early", rank.stopped_early},
                     {"error", error_json(rank.error_kind, rank.error)},
                     {"done", count(rank.jobs, "done")}});
  }
  return dump({{"run", summary.run},
               {"launcher_job", summary.launcher_job},
               {"started", base::iso_time(summary.started_ms)},
               {"ended", base::iso_time(summary.ended_ms)},
               {"model_digest", summary.model_digest},
               {"ranks", ranks},
               {"done", count(summary.jobs, "done")},
               {"failed", failed(summary)},
               {"cancelled", count(summary.jobs, "cancelled")},
               {"rejected", summary.rejected},
               {"jobs", jobs_json(summary.jobs)},
               {"held_elsewhere", summary.held_elsewhere},
               {"error", summary.error.empty() ? Json(nullptr) : Json(summary.error)},
               {"repeated_failure", repeated},
               {"exit_code", summary.exit_code}},
              2) +
         "\n";
}

}  // namespace nightreel::report

// What a run did, as one object: each rank's share while it travels to rank 0, and runs/RUN.json.
//
// Plain values; any thread. Foreign text that is no summary is Error{environment}: the other rank is another version.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace nightreel::report {

/// A job that ended, or was given back, on a rank.
struct JobResult {
  std::string id;
  std::string state;  // done, failed, cancelled
  std::string video;  // path below OUT, where done
  std::string error_kind;
  std::string error;
  std::string model_digest = {};  // of a video that another model than the run's made; empty: the run's
};

/// So many refused inbox entries stand by name in a summary; the others are counted.
inline constexpr std::size_t kNamedRejects = 100;

struct RankSummary {
  int rank = 0;
  std::string host;
  std::string device;      // "cpu" or the GPU's UUID
  std::vector<int> group;  // ranks that render each video together, the first one leads; of a rank alone: itself.
                           // As the run began
  std::vector<std::string> group_changes;  // who was lost to it since and why, as this rank saw it
  bool stopped_early = false;              // asked to, or out of renderers: work may be left
  std::vector<JobResult> jobs;
  std::vector<JobResult> rejects = {};  // refused inbox entries: the first hundred, as failed jobs
  std::int64_t rejected = 0;            // all of them
  std::string error_kind;               // why the rank could not go on; empty: it could
  std::string error;
  std::string repeated_kind = {};     // of what several jobs in a row failed of; empty: they did not
  std::string repeated_failure = {};  //
};

std::string to_json(const RankSummary& summary);
RankSummary rank_summary(const std::string& json);

struct RunSummary {
  std::string run;
  std::int64_t started_ms = 0;
  std::int64_t ended_ms = 0;
  std::string model_digest;
  std::vector<RankSummary> ranks;
  std::vector<JobResult> jobs;              // of the run's files, and those that ended during it
  std::int64_t rejected = 0;                // inbox entries, of which `jobs` has the first hundred
  std::vector<std::string> held_elsewhere;  // given jobs that another run still holds
  int exit_code = 0;
  std::string error;         // why the run ended, where no rank and no job says it
  std::string launcher_job;  // Slurm's id of the job; empty: none
};

/// The text of runs/RUN.json.
std::string to_json(const RunSummary& summary);

}  // namespace nightreel::report

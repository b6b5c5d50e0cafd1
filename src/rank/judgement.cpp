#include "nightreel/rank/judgement.h"

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/cluster/mpi.h"

namespace nightreel::rank {
namespace {

using base::ErrorKind;

using queue::JobState;

struct Findings {
  bool failed = false;
  bool left = false;      // in the queue
  bool not_done = false;  // of the given jobs one has not ended, and is not another run's
};

void take_in(queue::JobView view, report::RunSummary& summary, Findings& found) {
  if (view.state == JobState::unknown) {
    view.error_kind = base::traits(ErrorKind::queue).name;
    view.error = "the queue knows this job no more; the same command adds it again";
  }
  const bool ended =
      view.state == JobState::done || view.state == JobState::failed || view.state == JobState::cancelled;
  const bool elsewhere = view.state == JobState::running && view.run != summary.run;
  found.failed = found.failed || view.state == JobState::failed;
  found.not_done = found.not_done || (!ended && !elsewhere);
  if (elsewhere) summary.held_elsewhere.push_back(view.id);
  summary.jobs.push_back({view.id, std::string(queue::name(view.state)), view.video, view.error_kind, view.error});
}

void look_up(queue::JobQueue& jobs, const std::vector<std::string>& given, const OwnWord& own,
             report::RunSummary& summary, Findings& found) {
  const queue::Counts counts = jobs.counts(summary.run);
  found.left = !counts.drained();
  for (const auto& view : jobs.lookup(given)) take_in(own ? own(view) : view, summary, found);
}

void add_others(const std::vector<std::string>& given, report::RunSummary& summary, Findings& found) {
  for (const auto& rank : summary.ranks) {
    for (const auto& result : rank.jobs) {
      if (std::find(given.begin(), given.end(), result.id) != given.end()) continue;
      found.failed = found.failed || result.state == "failed";
      summary.jobs.push_back(result);
    }
  }
}

// However many ranks refused them: the first hundred by name.
void add_rejects(report::RunSummary& summary, Findings& found) {
  std::size_t named = 0;
  for (const auto& rank : summary.ranks) {
    summary.rejected += rank.rejected;
    for (const auto& one : rank.rejects) {
      if (named++ < report::kNamedRejects) summary.jobs.push_back(one);
    }
  }
  found.failed = found.failed || summary.rejected > 0;
}

// A rank whose renderers died, or that stopped early for a reason, is no verdict on the run: what is left, and what
// failed, is.
std::vector<int> codes_of_ranks(const report::RunSummary& summary, const Findings& found) {
  std::vector<int> codes;
  for (const auto& rank : summary.ranks) {
    if (rank.stopped_early && found.left) codes.push_back(base::traits(ErrorKind::interrupted).exit_code);
    if (rank.error_kind.empty()) continue;
    const ErrorKind kind = base::error_kind(rank.error_kind);
    if (kind != ErrorKind::renderer && kind != ErrorKind::interrupted) codes.push_back(base::traits(kind).exit_code);
  }
  return codes;
}

}  // namespace

void judge(queue::JobQueue& jobs, const std::vector<std::string>& given, bool failed_ok, report::RunSummary& summary,
           const OwnWord& own) {
  Findings found;
  std::vector<int> codes;
  try {
    look_up(jobs, given, own, summary, found);
  } catch (const base::Error& e) {
    summary.error = e.what();
    codes.push_back(base::traits(e.kind()).exit_code);
  }
  add_others(given, summary, found);
  add_rejects(summary, found);
  const std::vector<int> of_ranks = codes_of_ranks(summary, found);
  codes.insert(codes.end(), of_ranks.begin(), of_ranks.end());
  if (found.failed && !failed_ok) codes.push_back(1);
  if (found.not_done) codes.push_back(base::traits(ErrorKind::interrupted).exit_code);
  summary.exit_code = cluster::worst_exit_code(codes);
}

}  // namespace nightreel::rank

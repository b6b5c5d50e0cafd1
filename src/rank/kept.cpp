#include "rank/kept.h"

#include "nightreel/base/error.h"
#include "nightreel/job/resolve.h"
#include "nightreel/rank/input_hashes.h"
#include "rank/sidecar.h"

namespace nightreel::rank {
namespace {

constexpr std::size_t kNamed = 10;

}  // namespace

std::vector<Kept> made_otherwise(const Plan& plan, const OutputFolder& out, const Making& making) {
  std::vector<Kept> kept;
  InputHashes inputs;
  const ContentOf content_of = [&](const std::string& path) { return inputs.of(path); };
  for (const auto& job : plan.jobs) {
    const Json sidecar = read_sidecar(out.final_names(job.id, false).sidecar);
    const Owner owner = owner_in(sidecar);
    if (owner.id != job.id || owner.hash != job.hash || out.stamp_of_video(job.id).empty()) continue;
    const std::string differs = difference(sidecar, making, job::resolve(job, plan.card, plan.recipe), content_of);
    if (!differs.empty()) kept.push_back({job.id, differs, text_in(sidecar, "model_digest")});
  }
  return kept;
}

std::string kept_line(const std::vector<Kept>& kept) {
  std::string line = std::to_string(kept.size()) + " videos made otherwise: ";
  for (std::size_t i = 0; i < kept.size() && i < kNamed; ++i) line += (i > 0 ? ", " : "") + kept[i].id;
  return kept.size() > kNamed ? line + ", \u2026" : line;
}

void make_again(queue::JobQueue& jobs, const std::vector<std::string>& ids, const std::string& flag,
                const base::Logger& log) {
  using queue::JobState;
  for (const auto& job : jobs.lookup(ids)) {
    if (job.state == JobState::unknown) {
      throw base::Error(base::ErrorKind::usage,
                        flag + ": " + base::printable(job.id) + ": the queue knows no such job; give its list, too");
    }
    const bool again = job.state == JobState::done &&
                       jobs.put_back(job.id, job.sha256, std::chrono::milliseconds(0)) == queue::PutBack::pending;
    if (again) log.info("again", job.id + ": was done, and is made anew (" + flag + ")");
    if (job.state == JobState::failed || job.state == JobState::cancelled) jobs.retry(job.id);
  }
}

}  // namespace nightreel::rank

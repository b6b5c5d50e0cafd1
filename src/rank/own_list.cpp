#include "rank/own_list.h"

#include <algorithm>

namespace nightreel::rank {

using queue::JobState;
using queue::JobView;

namespace {

bool has_ended(JobState state) {
  return state == JobState::done || state == JobState::failed || state == JobState::cancelled;
}

}  // namespace

OwnList::OwnList(std::vector<queue::Submission> jobs, std::string run, std::int64_t max_attempts, VideoStands stands)
    : run_(std::move(run)), max_attempts_(max_attempts), stands_(std::move(stands)) {
  std::sort(jobs.begin(), jobs.end(), [](const auto& one, const auto& two) { return one.id < two.id; });
  for (auto& job : jobs) {
    ids_.push_back(job.id);
    jobs_.push_back({std::move(job), {}});
  }
}

std::vector<queue::LostJob> OwnList::compare(const std::vector<JobView>& now) {
  std::vector<queue::LostJob> out;
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    Own& own = jobs_[i];
    const JobView& view = now.at(i);
    own.missing = view.state == JobState::unknown;
    own.other = !own.missing && view.identity != own.job.identity;
    if (!own.missing) own.stands = false;
    if (!own.missing && !own.other) own.seen = view;
    if (!own.missing || own.seen.state == JobState::failed || own.seen.state == JobState::cancelled) continue;
    if (own.seen.state == JobState::done && !own.stands) own.stands = stands_(own.job);
    if (!own.stands) out.push_back(lost(own));
  }
  return out;
}

// The last attempt is not taken from a job by whoever lost its record.
queue::LostJob OwnList::lost(const Own& own) const {
  const std::int64_t limit = own.job.max_attempts > 0 ? own.job.max_attempts : max_attempts_;
  return {own.job, std::clamp<std::int64_t>(own.seen.attempts, 0, std::max<std::int64_t>(limit - 1, 0))};
}

bool OwnList::is_over(const Own& own) const {
  if (own.other) return true;
  if (own.missing) return own.stands || own.seen.state == JobState::failed || own.seen.state == JobState::cancelled;
  return has_ended(own.seen.state) || (own.seen.state == JobState::running && own.seen.run != run_);
}

std::vector<queue::LostJob> OwnList::open() const {
  std::vector<queue::LostJob> out;
  for (const Own& own : jobs_) {
    if (!own.missing && !is_over(own)) out.push_back(lost(own));
  }
  return out;
}

bool OwnList::over() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [&](const Own& own) { return is_over(own); });
}

const OwnList::Own* OwnList::find(const std::string& id) const {
  const auto found = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (found == ids_.end() || *found != id) return nullptr;
  return &jobs_[static_cast<std::size_t>(found - ids_.begin())];
}

JobView OwnList::word(const JobView& now) const {
  const Own* own = find(now.id);
  if (own == nullptr) return now;
  if (now.state == JobState::unknown) {
    const bool counts = own->seen.state == JobState::failed || own->seen.state == JobState::cancelled ||
                        (own->seen.state == JobState::done && (own->stands || stands_(own->job)));
    return counts ? own->seen : now;
  }
  if (now.identity == own->job.identity) return now;
  JobView failed = now;
  failed.state = JobState::failed;
  failed.error_kind = "job";
  failed.error = "id: the queue now has other content under " + now.id + "; this run's job was replaced";
  return failed;
}

}  // namespace nightreel::rank

#include "rank/list_watch.h"

#include <algorithm>
#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::rank {
namespace {

using base::Error;

constexpr std::chrono::seconds kEvery{60};
constexpr std::size_t kShown = 10;

std::string first_ids(const std::vector<std::string>& ids) {
  std::string out;
  for (std::size_t i = 0; i < std::min(ids.size(), kShown); ++i) out += (i == 0 ? "" : ", ") + ids[i];
  return out + (ids.size() > kShown ? ", …" : "");
}

void let_others_end(queue::JobQueue& jobs, const std::string& run) {
  try {
    jobs.set_content(run);
  } catch (const Error&) {
    return;  // they see that themselves
  }
}

}  // namespace

ListWatch::ListWatch(OwnList list, queue::BringBack to, base::Logger log, Now now)
    : list_(std::move(list)), to_(std::move(to)), log_(std::move(log)), now_(std::move(now)) {}

void ListWatch::begin(queue::JobQueue& jobs) {
  to_.before = jobs.incarnation();
  look(jobs);
}

bool ListWatch::due() const {
  return now_() - last_ >= kEvery;
}

void ListWatch::look(queue::JobQueue& jobs) {
  last_ = now_();
  const auto lost = list_.compare(jobs.lookup(list_.ids()));
  const std::string incarnation = jobs.incarnation();
  if (!to_.before.empty() && incarnation != to_.before) {
    log_.error("queue-lost", "the queue's records were lost: its server was emptied, or restarted without its data");
  }
  if (!lost.empty()) bring_back(jobs, lost);
  if (incarnation != to_.before || !lost.empty()) to_.before = jobs.incarnation();
}

void ListWatch::bring_back(queue::JobQueue& jobs, const std::vector<queue::LostJob>& lost) {
  const auto results = jobs.bring_back(lost, to_);
  std::vector<std::string> back;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i] == queue::BroughtBack::back) back.push_back(lost[i].job.id);
  }
  if (back.empty()) return;
  log_.warn("brought-back",
            std::to_string(back.size()) + " jobs that the queue had lost wait again: " + first_ids(back));
}

bool ListWatch::is_over(queue::JobQueue& jobs) {
  look(jobs);
  if (!list_.over()) {
    bring_back(jobs, list_.open());  // of these the queue may have lost the place in its line alone
    return false;
  }
  jobs.set_content(to_.run);
  return true;
}

void ListWatch::look_as_counted(queue::JobQueue& jobs) {
  const queue::Counts counts = jobs.counts(to_.run);
  if (counts.drained() && !counts.content) {
    is_over(jobs);
  } else if (due()) {
    look(jobs);
  }
}

void ListWatch::tend(queue::JobQueue& jobs) {
  try {
    look_as_counted(jobs);
  } catch (const Error& e) {
    if (!std::exchange(told_, true)) log_.warn("list", e.what());
    if (e.kind() == base::ErrorKind::environment) let_others_end(jobs, to_.run);
  }
}

}  // namespace nightreel::rank

// What a drain loop makes of the inbox, and of jobs that came after those in its hands and go before them.
#include <algorithm>

#include "nightreel/rank/drain.h"

namespace nightreel::rank {

using base::ErrorKind;

namespace {

constexpr double kUrgentLook_s = 1;

}  // namespace

/// An inbox that cannot be read ends the rank's work, once what it has in hand is done (may_claim).
void Drain::look_at_inbox() const {
  if (p_.inbox != nullptr && in_hand_.empty()) p_.inbox->check();
}

void Drain::note_rejects() const {
  if (p_.inbox == nullptr) return;
  const auto found = p_.inbox->found();
  const std::string kind(base::traits(ErrorKind::job).name);
  for (const auto& [id, reason] : found.rejected) summary_->rejects.push_back({id, "failed", "", kind, reason});
  summary_->rejected = found.rejected_in_all;
  const auto more = found.rejected_in_all - static_cast<std::int64_t>(found.rejected.size());
  if (more > 0) p_.log.error("inbox", std::to_string(more) + " further entries were refused");
}

/// Of the jobs that wait here behind the running video the one that would be missed least; null where none does.
JobInHand* Drain::last_in_line() {
  JobInHand* last = nullptr;
  bool running = false;
  for (JobInHand& job : in_hand_) {
    running = running || job.busy();
    const bool not_begun = job.phase == Phase::held_back || (job.phase == Phase::waiting && job.stage.empty());
    if (!not_begun || job.over || job.ending.kind != Ending::Kind::none) continue;
    if (last == nullptr || job.lease.priority <= last->lease.priority) last = &job;
  }
  return running ? last : nullptr;
}

/// A pending job of higher priority than one that waits here is begun before it, and that one goes back unused. The
/// queue is asked for its highest priority; the job, which others may want too, is claimed before one is given up.
void Drain::prefer_urgent() {
  if (!ready_ || p_.signals.asked() != Ask::go_on) return;
  if (since_urgent_.seconds() < std::max(kUrgentLook_s, p_.limits.poll_s)) return;
  JobInHand* last = last_in_line();
  if (last == nullptr) return;
  since_urgent_ = base::Stopwatch();
  queue::ClaimRequest wanted = request();
  wanted.min_pending = 1;
  wanted.above = last->lease.priority;
  wanted.except.clear();
  queue::ClaimResult claimed;
  ask_queue([&] {
    if (p_.jobs.highest_pending().value_or(*wanted.above) > *wanted.above) claimed = p_.jobs.claim(wanted);
  });
  if (!claimed.lease) return;
  p_.log.info("urgent", claimed.lease->ref.id + " goes before " + last->lease.ref.id + ", which goes back");
  cancel(*last);
  last->ending.kind = Ending::Kind::release;
  begin(*claimed.lease);
}

}  // namespace nightreel::rank

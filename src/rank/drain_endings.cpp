// How jobs leave a drain loop: published, failed, given back. The queue is told until it has heard; a job whose lease
// is lost meanwhile is another's.
#include <algorithm>

#include "nightreel/rank/drain.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;

namespace {

constexpr double kSave_s = 0.4;
constexpr std::size_t kRepeated = 3;             // jobs in a row
constexpr std::size_t kTellingId = 4;            // bytes; shorter ones stand in other words
constexpr std::size_t kRoomForOne = 32U << 20U;  // bytes: a video and its archive

// As the queue says it of a job whose last lease ran out.
std::string last_of_poison(const JobInHand& job) {
  if (!job.ending.poison || job.lease.attempt < job.lease.max_attempts) return "";
  return "poison: attempt " + std::to_string(job.lease.attempt) + " of " + std::to_string(job.lease.max_attempts) +
         ": ";
}

// What failed, without what differs from job to job and from try to try.
std::string reason_of(const JobInHand& job) {
  const std::string& id = job.lease.ref.id;
  std::string reason = std::string(base::traits(job.ending.error).name) + ": " + job.ending.message;
  while (id.size() >= kTellingId && reason.find(id) != std::string::npos) reason.erase(reason.find(id), id.size());
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  reason.erase(std::remove_if(reason.begin(), reason.end(), is_digit), reason.end());
  return reason;
}

// It has let go of the job, its state saved. A state that it tells of may be an older one, or another job's.
bool is_end_of(const JobInHand& job, const RenderUnit::Event& event) {
  if (!event.message || (event.message->type != "failed" && event.message->type != "done")) return false;
  return event.message->text("job") == job.job.id;
}

}  // namespace

void Drain::settle_all() {
  for (JobInHand& job : in_hand_) {
    if (!job.over && job.ending.kind != Ending::Kind::none) ask_queue([&] { settle(job); });
  }
  in_hand_.remove_if([](const JobInHand& job) { return job.over && !job.at_renderer(); });
}

// One may lead to the next: published then completed; cancelled or not to be published then released or failed.
void Drain::settle(JobInHand& job) {
  // A video that stands under its final name is completed even with a lease that has run out: the queue says whether
  // another holder has it.
  if (job.ending.kind != Ending::Kind::complete && job.held.look().lost) return lost(job);
  if (job.ending.kind == Ending::Kind::publish) publish(job);
  if (job.over) return;
  if (job.ending.kind == Ending::Kind::complete) return complete(job);
  job.ending.kind == Ending::Kind::fail ? fail(job) : release(job);
}

/// A video is not lost for a picture that is gone by now.
Inputs Drain::inputs_now(const JobInHand& job) {
  try {
    return inputs_.of(job.settings);
  } catch (const Error&) {
    return {};
  }
}

void Drain::publish(JobInHand& job) {
  const Finished finished{job.lease,
                          job.job.spec,
                          job.job.id,
                          job.settings,
                          job.ending.done,
                          job.ending.ranks,
                          unchanged(job.inputs, inputs_now(job)),
                          anew(job)};
  const auto still_ours = [&] { return !job.held.look().lost; };
  expect_slow_storage();
  try {
    switch (p_.publisher.publish(p_.jobs, finished, still_ours, job.ending.published)) {
      case Outcome::published:
        job.ending.kind = Ending::Kind::complete;
        job.files->published();
        break;
      case Outcome::cancel_requested:
        job.ending.kind = Ending::Kind::release;
        break;
      case Outcome::stale:
        lost(job);
    }
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::queue) throw;
    job.ending.kind = Ending::Kind::fail;
    job.ending.error = e.kind();
    job.ending.message = e.what();
  }
}

void Drain::complete(JobInHand& job) {
  if (!p_.jobs.complete(job.lease.ref, job.ending.published)) return lost(job);
  failing_.clear();
  result(job, "done");
  finish(job);
}

void Drain::fail(JobInHand& job) {
  const auto& traits = base::traits(job.ending.error);
  const std::string message = base::printable(last_of_poison(job) + job.ending.message, 4000);
  const auto state = p_.jobs.fail(job.lease.ref, {std::string(traits.name), message, !traits.retry, job.ending.poison});
  p_.log.error("job-failed", job.lease.ref.id + ": " + message);
  note_failure(job);
  if (state == queue::JobState::failed) result(job, "failed");
  if (state == queue::JobState::cancelled) result(job, "cancelled");
  finish(job);
  // A disk that takes nothing, or no video, would use up the attempts of every job of the night.
  if (job.ending.error != ErrorKind::storage) return;
  expect_slow_storage();
  p_.out.check_writable(kRoomForOne);
}

// A night of them would be as many lines: one says that it is no matter of the jobs.
void Drain::note_failure(const JobInHand& job) {
  const std::string reason = reason_of(job);
  if (reason != reason_) failing_.clear();
  reason_ = reason;
  failing_.insert(job.lease.ref.id);
  if (failing_.size() != kRepeated || !summary_->repeated_failure.empty()) return;
  summary_->repeated_kind = base::traits(job.ending.error).name;
  summary_->repeated_failure = job.ending.message;
  p_.log.error("repeated-failure",
               std::to_string(kRepeated) + " jobs in a row failed for one reason: " + job.ending.message);
}

void Drain::release(JobInHand& job) {
  if (p_.jobs.release(job.lease.ref, job.ending.alone) == queue::JobState::cancelled) result(job, "cancelled");
  finish(job);
}

void Drain::finish(JobInHand& job) {
  job.over = true;
  job.held.drop();
  pause_s_ = 0;
}

void Drain::lost(JobInHand& job) {
  p_.log.warn("lease-lost", job.lease.ref.id + ": its lease ran out, or another rank has it");
  finish(job);
}

// Asked to stop, or unable to go on. What cannot be told any more, the leases' end tells.
void Drain::give_back_all() {
  if (!in_hand_.empty()) p_.hurry();
  const base::Stopwatch watch;
  const JobInHand* saving = ask_for_state();
  for (JobInHand& job : in_hand_) {
    if (job.over) continue;
    const bool told = job.ending.kind == Ending::Kind::complete || job.ending.kind == Ending::Kind::fail;
    if (!told) job.ending.kind = Ending::Kind::release;
    try {
      settle(job);
    } catch (const std::exception& e) {
      p_.log.warn("not-released", job.lease.ref.id + ": its lease runs out by itself: " + e.what());
    }
  }
  while (saving != nullptr && watch.seconds() < kSave_s && p_.renderer.running()) {
    const auto event = p_.renderer.poll(std::chrono::milliseconds(20));
    if (event && is_end_of(*saving, *event)) break;
  }
  p_.renderer.kill();
  in_hand_.clear();
}

// Told to stop, a rank has a second: a part of it is for the state of what it denoises, after which somebody goes on.
// The job whose state is to come, if any.
const JobInHand* Drain::ask_for_state() {
  const auto job =
      std::find_if(in_hand_.begin(), in_hand_.end(), [](const auto& one) { return one.phase == Phase::denoising; });
  if (job == in_hand_.end() || p_.signals.asked() != Ask::stop || !p_.renderer.running()) return nullptr;
  try {
    p_.renderer.send(protocol::encode_plain("checkpoint_and_stop", {{"job", job->job.id}, {"token", job->token}}));
    return &*job;
  } catch (const Error&) {
    return nullptr;  // gone or stuck: it has nothing to save
  }
}

void Drain::result(const JobInHand& job, const std::string& state) {
  report::JobResult out{job.lease.ref.id, state, "", "", ""};
  if (state == "done") out.video = job.ending.published.video;
  if (state == "failed") {
    out.error_kind = base::traits(job.ending.error).name;
    out.error = last_of_poison(job) + job.ending.message;
  }
  summary_->jobs.push_back(out);
  p_.log.info("job-" + state, out.id);
}

}  // namespace nightreel::rank

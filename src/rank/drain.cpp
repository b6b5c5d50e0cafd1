#include "nightreel/rank/drain.h"

#include <algorithm>
#include <thread>

#include "nightreel/base/file.h"
#include "nightreel/job/resolve.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t kInHand = 2;
constexpr int kMostDeaths = 5;
constexpr double kQueueAway_s = 600;            // then the run stops early
constexpr milliseconds kStall{30 * 60 * 1000};  // a step or a stage without a sign of life

bool before_decoding(const std::string& stage) {
  return stage == "text" || stage == "denoise";
}

}  // namespace

void Drain::run(report::RankSummary& summary) {
  summary_ = &summary;
  while (true) {
    try {
      if (p_.signals.asked() == Ask::stop) break;
      if (!turn()) return;
      since_queue_ = base::Stopwatch();
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::queue) throw;
      p_.log.warn("queue-away", e.what());
      if (since_queue_.seconds() > kQueueAway_s) break;
    }
  }
  summary.stopped_early = true;
  give_back_all();
}

bool Drain::turn() {
  if (p_.renderer.running()) {
    if (const auto event = p_.renderer.poll(milliseconds(100))) {
      event->message ? on_message(*event->message) : on_death(event->died);
    }
  } else {
    std::this_thread::sleep_for(milliseconds(100));
    restart();
  }
  look_at_leases();
  if (deaths_ >= kMostDeaths || (p_.signals.asked() == Ask::finish && in_hand_.empty())) {
    summary_->stopped_early = true;
    return false;
  }
  if (may_claim()) claim();
  return !(in_hand_.empty() && drained());
}

bool Drain::drained() {
  if (p_.options.follow || since_count_.seconds() < 0.5) return false;
  since_count_ = base::Stopwatch();
  const queue::Counts counts = p_.jobs.counts(p_.who.run);
  return counts.drained() && (!p_.options.wait_for_all || counts.running == 0);
}

bool Drain::may_claim() {
  if (!ready_ || p_.signals.asked() != Ask::go_on || in_hand_.size() >= kInHand) return false;
  if (!first_ && since_claim_.seconds() < 0.3) return false;
  if (p_.options.deadline_s && since_start_.seconds() + longest_s_ > *p_.options.deadline_s) {
    p_.log.info("deadline", "no further job is expected to end before the deadline");
    p_.signals.ask(Ask::finish);
    return false;
  }
  if (p_.options.min_free > 0 && base::free_bytes(p_.out.root()) < p_.options.min_free) {
    p_.log.error("disk-full", p_.out.root() + ": less than --min-free is left");
    p_.signals.ask(Ask::finish);
    return false;
  }
  return true;
}

void Drain::claim() {
  first_ = false;
  since_claim_ = base::Stopwatch();
  if (since_inbox_.seconds() > 2) {
    since_inbox_ = base::Stopwatch();
    const std::string& root = p_.options.input_root;
    p_.jobs.take_inbox(
        [&](const std::string& entry) -> queue::InboxJob {
          try {
            const job::Job job = job::parse_job(entry, {root, root});
            return {queue::Submission{job.id, job.identity(), job.hash, job::pack_job(job), job.priority,
                                      job.max_attempts.value_or(0)},
                    ""};
          } catch (const Error& e) {
            return {std::nullopt, e.what()};
          }
        },
        p_.who.out);
  }
  queue::ClaimRequest request = p_.who;
  const bool busy = std::any_of(in_hand_.begin(), in_hand_.end(), [](const InHand& job) { return job.denoising; });
  if (!busy) request.min_pending = 1;
  const queue::ClaimResult claimed = p_.jobs.claim(request);
  if (claimed.lease) begin(*claimed.lease);
}

void Drain::begin(const queue::Lease& lease) {
  p_.leases.hold(lease, kStall);
  InHand hand;
  hand.lease = lease;
  hand.job.id = lease.ref.id;
  try {
    hand.token = std::stoull(lease.ref.token);
    hand.job = job::unpack_job(lease.spec, p_.options.input_root);
    hand.settings = job::resolve(hand.job, p_.card, p_.recipe);
    job::check_supported(hand.settings);
    if (const auto stands = p_.publisher.standing(hand.job.id, lease.hash)) {
      p_.leases.drop(lease.ref);
      if (p_.jobs.complete(lease.ref, *stands)) result(hand, "done", stands->video, nullptr);
      return;
    }
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::queue) throw;
    return fail(hand, e.kind(), e.what(), false);
  }
  in_hand_.push_back(hand);
  send(in_hand_.back());
}

void Drain::send(const InHand& job) {
  const OutputSet files = p_.out.temporary_names(job.job.id, job.token, p_.options.archive != "none");
  protocol::RenderRequest request;
  request.job = job.job.id;
  request.token = job.token;
  request.settings = job.settings;
  request.spec = job.job.spec;
  request.video = files.video;
  request.sheet = files.sheet;
  request.archive = files.archive;
  request.checkpoint = p_.out.checkpoint(job.job.id);
  request.archive_content = p_.options.archive;
  request.checkpoint_every = p_.options.checkpoint_every;
  request.crf = p_.options.crf;
  try {
    p_.renderer.send(protocol::encode(request));
  } catch (const Error& e) {
    p_.renderer.kill();
    on_death(e.what());
  }
}

void Drain::on_message(const protocol::Message& message) {
  try {
    if (message.type == "ready") ready_ = true;
    if (message.type == "progress") on_progress(protocol::progress_event(message));
    if (message.type == "done") on_done(protocol::done_event(message));
    if (message.type == "failed") on_failed(protocol::failed_event(message));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::renderer) throw;
    p_.renderer.kill();
    on_death(e.what());
  }
}

std::optional<double> Drain::seconds_left(const InHand& job) {
  if (job.stage != "denoise" || job.step <= job.first_step) return std::nullopt;
  const auto done = static_cast<double>(job.step - job.first_step);
  return job.denoising_since.seconds() / done * static_cast<double>(job.steps - job.step);
}

void Drain::on_progress(const protocol::ProgressEvent& event) {
  InHand* job = find(event.token);
  if (job == nullptr) return;
  if (event.stage == "denoise" && job->stage != event.stage) {
    job->denoising_since = base::Stopwatch();
    job->first_step = event.step;
  }
  job->stage = event.stage;
  job->step = event.step;
  job->steps = event.steps;
  job->denoising = before_decoding(event.stage);
  // The job behind it waits for the same renderer: what keeps one alive keeps the other.
  for (const InHand& other : in_hand_) {
    p_.leases.progress(other.lease.ref, {other.stage, other.step, other.steps, seconds_left(other)}, kStall);
  }
}

void Drain::on_done(const protocol::DoneEvent& event) {
  InHand* found = find(event.token);
  if (found == nullptr) return;
  const InHand job = *found;
  forget(event.token);
  deaths_ = 0;
  longest_s_ = std::max(longest_s_, job.since.seconds());
  queue::Published published;
  Finished finished{job.lease, job.job.spec, job.job.id, job.settings, event};
  const queue::LeaseState state = p_.leases.look(job.lease.ref);
  finished.lease.deadline = state.deadline;
  try {
    const Outcome outcome = state.lost ? Outcome::stale : p_.publisher.publish(p_.jobs, finished, published);
    p_.leases.drop(job.lease.ref);
    if (outcome == Outcome::published) result(job, "done", published.video, nullptr);
    if (outcome == Outcome::cancel_requested) release(job);
    if (outcome == Outcome::stale) p_.log.warn("lease-lost", job.job.id + ": another rank has it now");
  } catch (const Error& e) {
    // Where the queue is away the lease runs out, and the next claim finds the set that stands.
    if (e.kind() == ErrorKind::queue) throw;
    fail(job, e.kind(), e.what(), false);
  }
  p_.publisher.discard(job.job.id, job.token);
}

void Drain::on_failed(const protocol::FailedEvent& event) {
  if (event.job.empty()) {
    p_.renderer.kill();
    return on_death(event.message);
  }
  InHand* found = find(event.token);
  if (found == nullptr) return;
  const InHand job = *found;
  forget(event.token);
  p_.publisher.discard(job.job.id, job.token);
  fail(job, event.kind, event.message, false);
}

// A death is charged to the job that was denoising; where none was, to all in hand.
void Drain::on_death(const std::string& how) {
  p_.log.error("renderer-died", how);
  ++deaths_;
  ready_ = false;
  since_death_ = base::Stopwatch();
  const std::list<InHand> jobs = std::exchange(in_hand_, {});
  const auto denoising = std::find_if(jobs.begin(), jobs.end(), [](const InHand& job) { return job.denoising; });
  for (const InHand& job : jobs) {
    p_.publisher.discard(job.job.id, job.token);
    const bool charged = denoising == jobs.end() || job.token == denoising->token;
    charged ? fail(job, ErrorKind::renderer, "the renderer died: " + how, true) : release(job);
  }
}

void Drain::restart() {
  const double pause_s = std::min(60.0, static_cast<double>(1U << static_cast<unsigned>(std::max(0, deaths_ - 1))));
  if (deaths_ >= kMostDeaths || since_death_.seconds() < pause_s) return;
  p_.renderer.start();
}

void Drain::look_at_leases() {
  const std::list<InHand> jobs = in_hand_;
  for (const InHand& job : jobs) {
    const queue::LeaseState state = p_.leases.look(job.lease.ref);
    const bool late = job.job.timeout_s && job.since.seconds() > *job.job.timeout_s;
    if (state.stalled) {
      p_.renderer.kill();
      return on_death("hung: no progress for " + base::human_duration(static_cast<double>(kStall.count()) / 1000));
    }
    if (!state.lost && !state.cancel_requested && !late) continue;
    forget(job.token);
    try {
      p_.renderer.send(protocol::encode_plain("cancel", {{"job", job.job.id}, {"token", job.token}}));
    } catch (const Error&) {
      // It is gone: the next poll says so.
    }
    if (state.lost) {
      p_.leases.drop(job.lease.ref);
    } else if (state.cancel_requested) {
      release(job);
    } else {
      fail(job, ErrorKind::renderer, "not done after its timeout_s", false);
    }
  }
}

void Drain::give_back_all() {
  p_.hurry();
  for (const InHand& job : std::exchange(in_hand_, {})) {
    try {
      release(job);
    } catch (const Error& e) {
      p_.log.warn("not-released", job.job.id + ": its lease runs out by itself: " + e.what());
    }
  }
  p_.renderer.kill();
}

void Drain::fail(const InHand& job, ErrorKind kind, const std::string& message, bool poison) {
  p_.leases.drop(job.lease.ref);
  const Error error(kind, message);
  p_.log.error("job-failed", job.job.id + ": " + message);
  const auto& traits = base::traits(kind);
  const auto state = p_.jobs.fail(job.lease.ref, {std::string(traits.name), message, !traits.retry, poison});
  if (state == queue::JobState::failed) result(job, "failed", "", &error);
  if (state == queue::JobState::cancelled) result(job, "cancelled", "", nullptr);
}

void Drain::release(const InHand& job) {
  p_.leases.drop(job.lease.ref);
  if (p_.jobs.release(job.lease.ref) == queue::JobState::cancelled) result(job, "cancelled", "", nullptr);
}

void Drain::result(const InHand& job, const std::string& state, const std::string& video, const Error* error) {
  report::JobResult out{job.lease.ref.id, state, video, "", ""};
  if (error != nullptr) {
    out.error_kind = base::traits(error->kind()).name;
    out.error = error->what();
  }
  summary_->jobs.push_back(out);
  p_.log.info("job-" + state, out.id);
}

void Drain::forget(std::uint64_t token) {
  in_hand_.remove_if([&](const InHand& job) { return job.token == token; });
}

Drain::InHand* Drain::find(std::uint64_t token) {
  const auto it = std::find_if(in_hand_.begin(), in_hand_.end(), [&](const InHand& job) { return job.token == token; });
  return it == in_hand_.end() ? nullptr : &*it;
}

}  // namespace nightreel::rank

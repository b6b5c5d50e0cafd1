#include "nightreel/rank/drain.h"

#include <algorithm>

#include "nightreel/base/file.h"
#include "nightreel/job/resolve.h"
#include "nightreel/memory/plan.h"
#include "nightreel/queue/redis.h"
#include "nightreel/queue/token.h"
#include "rank/list_watch.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;

namespace {

constexpr std::ptrdiff_t kInHand = 2;
constexpr double kDiskLook_s = 5;
constexpr double kNextClaim_s = 0.3;  // after a claim that found a job or was not answered

double seconds_to(std::int64_t moment_ms) {
  return static_cast<double>(moment_ms - base::now_ms()) / 1000;
}

}  // namespace

void Drain::run(report::RankSummary& summary) {
  summary_ = &summary;
  const auto give_up = [&](ErrorKind kind, const std::string& why) {
    summary.stopped_early = true;
    summary.error_kind = base::traits(kind).name;
    summary.error = why;
    p_.log.error("rank-stops", why);
  };
  try {
    while (turn()) {
    }
  } catch (const Error& e) {
    give_up(e.kind(), e.what());
  } catch (const std::exception& e) {
    give_up(ErrorKind::internal, e.what());
  }
  give_back_all();
  note_rejects();
}

/// Where no renderer of this rank gets anywhere.
void Drain::step_down() const {
  if (!in_hand_.empty()) return;
  const bool of_host = last_blame_ == Blame::host && deaths_.host_has_too_little();
  if (!of_host && !deaths_.too_many()) return;
  const std::string why =
      of_host ? "renderers ended again and again for want of the host's memory, without one finished "
                "video between them"
              : std::to_string(deaths_.in_a_row()) + " renderer deaths in a row without one finished step";
  throw Error(last_blame_ == Blame::host ? ErrorKind::host_memory : ErrorKind::renderer,
              "stepped down after " + why + "; the last: " + last_death_);
}

bool Drain::turn() {
  if (p_.signals.asked() == Ask::stop) {
    summary_->stopped_early = true;
    return false;
  }
  listen();
  look_at_jobs();
  settle_all();
  step_down();
  if (in_hand_.empty() && p_.signals.asked() == Ask::finish) {
    summary_->stopped_early = true;
    return false;
  }
  look_at_inbox();
  look_at_list();
  if (may_claim()) claim();
  prefer_urgent();
  send_next();
  return !(in_hand_.empty() && drained());
}

/// Whether the queue answered. One that is away is asked again at a later turn, until it has been away for too long;
/// one that refuses says what stands in the way, and waiting does not help.
bool Drain::ask_queue(const std::function<void()>& question) {
  try {
    question();
  } catch (const Error& e) {
    const auto* redis = dynamic_cast<const queue::RedisError*>(&e);
    if (e.kind() != ErrorKind::queue || (redis != nullptr && redis->fault() == queue::RedisFault::refused)) throw;
    if (!queue_away_) p_.log.warn("queue-away", std::string(e.what()) + "; trying again");
    if (!queue_away_) queue_away_.emplace();
    look_at_disk();
    if (queue_away_->seconds() > p_.limits.queue_away_s) {
      throw Error(ErrorKind::queue, "gave up after " + base::human_duration(queue_away_->seconds()) + ": " + e.what());
    }
    return false;
  }
  if (queue_away_) p_.log.info("queue-back", "after " + base::human_duration(queue_away_->seconds()));
  queue_away_.reset();
  return true;
}

/// A private Redis whose disk is full ends itself: then it is the disk that keeps this rank from going on.
void Drain::look_at_disk() {
  if (since_disk_.seconds() < kDiskLook_s) return;
  since_disk_ = base::Stopwatch();
  expect_slow_storage();
  p_.out.check_writable();
}

/// To be called before this thread reads or writes files of size, which may take as long as a publication.
void Drain::expect_slow_storage() {
  p_.renderer.expect_silence(std::chrono::milliseconds(static_cast<std::int64_t>(1000 * p_.limits.stages.publish)));
}

/// How long a job that waits may have to wait until the next sign of progress.
std::chrono::milliseconds Drain::patience() const {
  std::chrono::milliseconds most(static_cast<std::int64_t>(1000 * p_.limits.stages.text));
  for (const JobInHand& job : in_hand_) {
    if (job.busy()) most = std::max(most, job.watch.limit());
  }
  return most;
}

bool Drain::drained() {
  if (p_.options.follow) return false;
  auto counts = std::exchange(counted_, std::nullopt);
  if (!counts && since_count_.seconds() > std::max(0.5, p_.limits.poll_s)) {
    since_count_ = base::Stopwatch();
    ask_queue([&] { counts = p_.jobs.counts(p_.who.run); });
  }
  if (!counts || !nothing_left(*counts) || !is_over(*counts)) return false;
  if (!p_.content) return true;
  if (!p_.content()) return false;
  // Counted once more: what an earlier look has put back since the first count is nothing that the last one misses.
  counts.reset();
  ask_queue([&] { counts = p_.jobs.counts(p_.who.run); });
  return counts && nothing_left(*counts);
}

/// What others hold is theirs while they renew it. A lease that nobody has renewed since the rest was done may be that
/// of a run that was killed: it is waited for until it is renewed, or runs out and the job is claimed here.
bool Drain::nothing_left(const queue::Counts& counts) {
  if (!counts.drained()) {
    waits_for_lease_ms_.reset();
    return false;
  }
  if (counts.running == 0 || p_.options.wait_for_all) return counts.running == 0;
  if (!waits_for_lease_ms_) waits_for_lease_ms_ = counts.last_lease_ms;
  return counts.first_lease_ms > *waits_for_lease_ms_;
}

/// Nothing waits. That may be because the queue has lost what waited.
bool Drain::is_over(const queue::Counts& counts) {
  if (p_.list == nullptr) return !p_.listed || counts.content;
  bool over = false;
  ask_queue([&] { over = p_.list->is_over(p_.jobs); });
  return over;
}

void Drain::look_at_list() {
  if (p_.list != nullptr && p_.list->due()) ask_queue([&] { p_.list->look(p_.jobs); });
}

/// One that denoises and one behind it; or a wave, of which the renderer denoises one after the other.
std::ptrdiff_t Drain::most_in_hand() const {
  std::ptrdiff_t most = kInHand;
  for (const JobInHand& job : in_hand_) most = std::max<std::ptrdiff_t>(most, job.wave);
  return most;
}

bool Drain::may_claim() {
  if (!ready_ || p_.signals.asked() != Ask::go_on || (p_.inbox != nullptr && p_.inbox->stopped())) return false;
  const auto mine = std::count_if(in_hand_.begin(), in_hand_.end(), [](const JobInHand& job) { return !job.over; });
  const bool blocked = std::any_of(in_hand_.begin(), in_hand_.end(), [](const JobInHand& job) {
    return !job.over && (job.lease.alone || job.phase == Phase::held_back);
  });
  if (blocked || mine >= most_in_hand() || since_claim_.seconds() < pause_s_) return false;
  if (p_.options.deadline_ms && seconds_to(*p_.options.deadline_ms) <= 0) {
    p_.log.info("deadline", "it has passed: no further job is begun");
    p_.signals.ask(Ask::finish);
    return false;
  }
  if (p_.options.min_free > 0 && base::free_bytes(p_.out.root()) < p_.options.min_free) {
    summary_->error_kind = base::traits(ErrorKind::interrupted).name;
    summary_->error = p_.out.root() + ": less than --min-free is left";
    p_.log.error("disk-full", summary_->error);
    p_.signals.ask(Ask::finish);
    return false;
  }
  return true;
}

void Drain::claim() {
  since_claim_ = base::Stopwatch();
  pause_s_ = kNextClaim_s;
  queue::ClaimRequest wanted = request();
  const bool busy = std::any_of(in_hand_.begin(), in_hand_.end(), [](const JobInHand& job) {
    return job.phase == Phase::waiting || job.phase == Phase::denoising;
  });
  if (!busy) wanted.min_pending = 1;
  queue::ClaimResult claimed;
  if (!ask_queue([&] { claimed = p_.jobs.claim(wanted); })) return;
  if (claimed.lease) return begin(*claimed.lease);
  pause_s_ = p_.limits.poll_s;
  if (in_hand_.empty()) counted_ = claimed.counts;
  since_count_ = base::Stopwatch();
}

queue::ClaimRequest Drain::request() const {
  queue::ClaimRequest wanted = p_.who;
  wanted.lora_set = merged_;
  wanted.in_a_row = in_a_row_;
  wanted.except = starved_;
  return wanted;
}

void Drain::begin(const queue::Lease& lease) {
  JobInHand& hand = in_hand_.emplace_back(lease, p_.leases, patience(), p_.limits.stages);
  try {
    prepare(hand);
  } catch (const Error& e) {
    hand.phase = Phase::answered;
    hand.ending.kind = Ending::Kind::fail;
    hand.ending.error = e.kind();
    hand.ending.message = e.what();
  }
}

void Drain::prepare(JobInHand& hand) {
  hand.token = queue::token_number(hand.lease.ref.token);
  hand.job = job::unpack_job(hand.lease.spec, p_.options.input_root);
  if (hand.job.id != hand.lease.ref.id) throw Error(ErrorKind::job, "id: not the one under which the queue has it");
  hand.settings = job::resolve(hand.job, p_.card, p_.recipe);
  expect_slow_storage();
  if (hand.lease.earlier) p_.out.remove_earlier(hand.job.id, hand.lease.ref.token, hand.lease.before);
  if (const auto stands = p_.publisher.standing(hand.job.id, hand.lease.hash, anew(hand))) {
    hand.phase = Phase::answered;
    hand.ending.kind = Ending::Kind::complete;
    hand.ending.published = *stands;
    p_.publisher.remove_checkpoint(hand.job.id);
    return;
  }
  if (!ends_in_time(hand)) {
    hand.phase = Phase::answered;
    hand.ending.kind = Ending::Kind::release;
    p_.signals.ask(Ask::finish);
    return;
  }
  hand.inputs = inputs_.of(hand.settings);
  hand.wave = memory::fitting_plan(p_.memory, hand.settings).wave();
}

// A deadline is a moment of the clock. What is in hand before this job comes first.
bool Drain::ends_in_time(const JobInHand& job) {
  if (!p_.options.deadline_ms) return true;
  const auto own_s = p_.past.slowest(job.settings);
  if (!own_s) {
    p_.log.info("deadline", job.job.id + ": is begun, though no finished video of this model and size (" +
                                size_of(job.settings) + ") in OUT tells how long it takes");
    return true;
  }
  double before_s = 0;
  for (const JobInHand& other : in_hand_) {
    if (&other == &job || other.over) continue;
    before_s = std::max(before_s, p_.past.slowest(other.settings).value_or(0) - other.worked_s);
  }
  const double left_s = seconds_to(*p_.options.deadline_ms);
  if (before_s + *own_s <= left_s) return true;
  p_.log.info("deadline", job.job.id + ": is not begun: one of its size took " + base::human_duration(*own_s) +
                              ", and " + base::human_duration(left_s) + " are left");
  return false;
}

/// Which finished set of this very job is made again all the same.
Anew Drain::anew(const JobInHand& job) {
  return [this, &job](const protocol::Json& sidecar) {
    const auto& again = p_.options.again;
    if (std::find(again.begin(), again.end(), job.job.id) != again.end()) return true;
    const ContentOf content_of = [this](const std::string& path) { return inputs_.of(path); };
    return p_.options.overwrite && !p_.publisher.difference(sidecar, job.settings, content_of).empty();
  };
}

// A job that is to be alone waits until the renderer is empty, and the others wait for it; so does one whose earlier
// attempt the renderer has not let go of yet.
bool Drain::may_send(const JobInHand& job) const {
  return std::none_of(in_hand_.begin(), in_hand_.end(), [&](const JobInHand& other) {
    return other.at_renderer() && (job.lease.alone || other.lease.alone || other.job.id == job.job.id);
  });
}

void Drain::send_next() {
  const auto is_next = [](const JobInHand& job) { return job.phase == Phase::held_back && !job.over; };
  if (!ready_ || std::none_of(in_hand_.begin(), in_hand_.end(), is_next)) return;
  // The queue may have kept this rank waiting: a renderer that has died meanwhile is to cost the job nothing.
  hear(std::chrono::milliseconds(0));
  const auto next = std::find_if(in_hand_.begin(), in_hand_.end(), is_next);
  if (ready_ && next != in_hand_.end() && may_send(*next)) send(*next);
}

void Drain::send(JobInHand& job) {
  const Attempt attempt{job.job.id, job.lease.hash, job.lease.ref.token};
  const OutputSet files = p_.out.temporary_names(attempt, p_.options.archive != "none");
  protocol::RenderRequest request;
  request.job = job.job.id;
  request.token = job.token;
  request.settings = job.settings;
  request.spec = job.job.spec;
  request.video = files.video;
  request.sheet = files.sheet;
  request.archive = files.archive;
  request.checkpoint = p_.out.checkpoint(job.job.id);
  request.hash = job.lease.hash;
  request.archive_content = p_.options.archive;
  request.checkpoint_every = p_.options.checkpoint_every;
  request.memory = p_.memory.bytes;
  job.files.emplace(p_.publisher, attempt, p_.log);
  job.watch.wait();
  job.phase = Phase::waiting;
  in_a_row_ = job.lease.lora_set == merged_ ? in_a_row_ + 1 : 1;
  merged_ = job.lease.lora_set;
  try {
    p_.renderer.send(protocol::encode(request));
  } catch (const Error& e) {
    end_renderer(e.what());
  }
}

}  // namespace nightreel::rank

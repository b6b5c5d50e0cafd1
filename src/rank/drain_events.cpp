// What a drain loop makes of its renderer's events, silence and death.
#include <algorithm>
#include <thread>

#include "nightreel/rank/drain.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kListen{100};
constexpr std::size_t kShownKeys = 2000;  // bytes

/// Of a wave one job denoises at a time; the others wait between their experts.
Phase phase_in(const std::string& stage) {
  if (stage == "wait") return Phase::waiting;
  return stage == "text" || stage == "denoise" ? Phase::denoising : Phase::finishing;
}

std::optional<double> seconds_left(const JobInHand& job) {
  if (job.stage != "denoise" || job.step <= job.first_step) return std::nullopt;
  const auto done = static_cast<double>(job.step - job.first_step);
  return job.denoising_since.seconds() / done * static_cast<double>(job.steps - job.step);
}

}  // namespace

void Drain::listen() {
  if (!p_.renderer.running()) {
    p_.renderer.poll(milliseconds(0));  // a group's ranks have something to say all the same
    std::this_thread::sleep_for(kListen);
    if (deaths_.may_restart() && p_.renderer.may_start()) p_.renderer.start();
    return;
  }
  hear(kListen);
}

/// The renderer's events, of which the first may take `patience`.
void Drain::hear(milliseconds patience) {
  auto event = p_.renderer.poll(patience);
  for (int seen = 1; event; ++seen) {
    handle(*event);
    if (!p_.renderer.running() || seen == kEventsATurn) return;
    event = p_.renderer.poll(milliseconds(0));
  }
}

void Drain::handle(const RenderUnit::Event& event) {
  if (event.message) return on_message(*event.message);
  const bool of_host = event.died.find(kOutOfHostMemory) != std::string::npos;
  on_death(event.died, of_host ? Blame::host : Blame::jobs);
}

void Drain::on_message(const protocol::Message& message) {
  try {
    if (message.type == "ready") on_ready(protocol::ready_event(message));
    if (message.type == "progress") on_progress(protocol::progress_event(message));
    if (message.type == "done") on_done(protocol::done_event(message));
    if (message.type == "failed") on_failed(protocol::failed_event(message));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::renderer) throw;
    p_.renderer.kill();
    on_death(e.what());
  }
}

void Drain::on_ready(const protocol::ReadyEvent& event) {
  if (event.model_digest != p_.who.model) {
    throw Error(ErrorKind::environment, "the model's files have changed since the run began; start it again");
  }
  ready_ = true;
}

void Drain::on_progress(const protocol::ProgressEvent& event) {
  JobInHand* job = find(event.token);
  if (job == nullptr || !job->at_renderer()) return;
  if (event.stage == "denoise" && job->stage != event.stage) {
    job->denoising_since = base::Stopwatch();
    job->first_step = event.step;
  }
  if (event.stage == "denoise" && event.step > job->first_step) deaths_.step_finished();
  job->stage = event.stage;
  job->step = event.step;
  job->steps = event.steps;
  job->phase = phase_in(event.stage);
  moved(*job);
}

/// The jobs that wait for the same renderer are kept alive by its progress.
void Drain::moved(JobInHand& job) {
  job.watch.sign(job.stage, job.step);
  for (JobInHand& one : in_hand_) {
    const bool waits = one.phase == Phase::waiting || one.phase == Phase::held_back;
    if (waits) one.watch.wait();
    if (one.over || (&one != &job && !waits)) continue;
    one.held.progress({one.stage, one.step, one.steps, seconds_left(one)}, waits ? patience() : job.watch.limit());
  }
}

void Drain::on_done(const protocol::DoneEvent& event) {
  JobInHand* job = find(event.token);
  if (job == nullptr || !job->at_renderer()) return;
  job->phase = Phase::answered;
  job->stage = "publish";
  job->step = job->steps = 0;
  moved(*job);
  for (const std::string& keys : event.unused_keys) {
    p_.log.warn("lora-keys",
                job->job.id + ": left out, this model has no such parts: " + base::printable(keys, kShownKeys));
  }
  deaths_.video_finished();
  starved_.clear();
  job->count_work();
  p_.past.add(job->settings, job->worked_s);
  if (job->over || job->ending.kind != Ending::Kind::none) return;
  job->ending.kind = Ending::Kind::publish;
  job->ending.done = event;
  job->ending.ranks = p_.renderer.ranks();
}

void Drain::on_failed(const protocol::FailedEvent& event) {
  if (!event.memory_failed.empty()) p_.renderer.remember_failed(event.memory_failed);
  if (event.job.empty()) return end_renderer(event.message);
  JobInHand* job = find(event.token);
  if (job == nullptr || !job->at_renderer()) return;
  if (event.kind == ErrorKind::host_memory) return end_renderer(event.message, Blame::host);
  job->phase = Phase::answered;
  moved(*job);
  if (!job->over && job->ending.kind == Ending::Kind::none) {
    job->ending.kind = Ending::Kind::fail;
    job->ending.error = event.kind;
    job->ending.message = event.message;
  }
  // After an error of the GPU nothing that the same process computes can be trusted.
  if (event.kind == ErrorKind::device) end_renderer("the device failed: " + event.message);
  if (!event.memory_failed.empty()) {
    end_renderer("started anew with plans that need less memory: " + event.message, Blame::nobody);
  }
}

/// What the renderer said before it ended still counts: a job that it has finished is not charged.
void Drain::end_renderer(const std::string& why, Blame blame) {
  for (int seen = 0; p_.renderer.running() && seen < kEventsATurn; ++seen) {
    const auto event = p_.renderer.poll(milliseconds(0));
    if (!event) break;
    if (event->message && event->message->type != "done") continue;
    handle(*event);
  }
  if (!p_.renderer.running()) return;
  p_.renderer.kill();
  on_death(why, blame);
}

void Drain::on_death(const std::string& how, Blame blame) {
  const std::string words = p_.renderer.last_words();
  last_death_ = how + "; its log " + p_.renderer.log_file() + (words.empty() ? " is empty" : " ends: " + words);
  p_.log.error("renderer-died", last_death_);
  last_blame_ = blame;
  ready_ = false;
  merged_.clear();  // the next one has loaded the weights as they are on disk
  in_a_row_ = 0;
  std::vector<Phase> phases;
  for (const JobInHand& job : in_hand_) phases.push_back(job.phase);
  const std::vector<Charge> charges = charge_death(phases);
  count_death(charges);
  auto charge = charges.begin();
  for (JobInHand& job : in_hand_) {
    Charge mine = *charge++;
    if (mine == Charge::none) continue;
    if (blame == Blame::nobody) mine = Charge::free;
    // What a host has for all is no job's fault. One that ends a renderer of its own once more wants too much of it.
    if (blame == Blame::host && mine == Charge::attempt && !job.lease.alone) mine = Charge::bystander;
    job.phase = Phase::answered;
    if (job.over || job.ending.kind != Ending::Kind::none) continue;
    job.ending.kind = mine == Charge::attempt ? Ending::Kind::fail : Ending::Kind::release;
    job.ending.error = blame == Blame::host ? ErrorKind::host_memory : ErrorKind::renderer;
    job.ending.message = "the renderer died: " + last_death_;
    job.ending.poison = blame != Blame::host;
    job.ending.alone = mine == Charge::bystander;
  }
}

void Drain::count_death(const std::vector<Charge>& charges) {
  std::vector<std::string> busy;
  auto charge = charges.begin();
  for (const JobInHand& job : in_hand_) {
    if (*charge++ == Charge::attempt) busy.push_back(job.job.id);
  }
  last_blame_ == Blame::host ? deaths_.died_of_host(busy) : deaths_.died();
  // Whether the host has too little or the job wants too much, another job tells before this one has used up its
  // attempts.
  if (last_blame_ == Blame::host && !busy.empty()) starved_ = busy.front();
  if (deaths_.too_many() && p_.renderer.shrink()) deaths_ = Deaths(p_.limits.first_pause_s);
}

void Drain::look_at_jobs() {
  const bool busy = std::any_of(in_hand_.begin(), in_hand_.end(), [](const JobInHand& job) { return job.busy(); });
  for (JobInHand& job : in_hand_) {
    job.count_work();
    const bool its_turn = job.phase != Phase::waiting || !busy;
    its_turn ? job.watch.look() : job.watch.wait();
    if (job.at_renderer() && job.watch.hung()) {
      return end_renderer("hung: job " + job.job.id + " made no progress in stage '" + base::printable(job.stage, 20) +
                          "' for " + base::human_duration(job.watch.silent_s()) +
                          ", its limit there (--stage-limits sets it)");
    }
    if (!job.over && job.ending.kind == Ending::Kind::none) look_at(job);
  }
}

void Drain::look_at(JobInHand& job) {
  const queue::LeaseState state = job.held.look();
  const bool late = job.job.timeout_s && job.worked_s > *job.job.timeout_s;
  if (!state.lost && !state.cancel_requested && !late) return;
  cancel(job);
  if (state.lost) return lost(job);
  job.ending.kind = state.cancel_requested ? Ending::Kind::release : Ending::Kind::fail;
  job.ending.error = ErrorKind::renderer;
  job.ending.message = "not done after its timeout_s";
}

/// The renderer is asked to let go of it; until it has answered, its temporary files are still its own.
void Drain::cancel(JobInHand& job) {
  if (job.phase == Phase::held_back) job.phase = Phase::answered;
  if (!job.at_renderer() || !p_.renderer.running()) return;
  try {
    p_.renderer.send(protocol::encode_plain("cancel", {{"job", job.job.id}, {"token", job.token}}));
  } catch (const Error&) {
    // It is gone or stuck: the next poll, or its silence, says so.
  }
}

JobInHand* Drain::find(std::uint64_t token) {
  const auto it =
      std::find_if(in_hand_.begin(), in_hand_.end(), [&](const JobInHand& job) { return job.token == token; });
  return it == in_hand_.end() ? nullptr : &*it;
}

}  // namespace nightreel::rank

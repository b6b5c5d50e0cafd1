// The drain loop of one rank: claim, render, publish, complete, until nothing is left or somebody asks to stop.
//
// Owns the jobs in hand; the renderer, the queue and the rest belong to the caller. One thread. Nothing is thrown: a
// job's failure is reported to the queue; what keeps the rank itself from going on (Redis away for too long, a disk
// that takes nothing, renderers that die one after the other) ends the loop and stands in the summary. However the loop
// ends, no lease is renewed afterwards, no temporary file is left and no renderer runs.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "nightreel/card/card.h"
#include "nightreel/memory/model.h"
#include "nightreel/queue/inbox_taker.h"
#include "nightreel/queue/lease.h"
#include "nightreel/rank/deaths.h"
#include "nightreel/rank/input_hashes.h"
#include "nightreel/rank/job_in_hand.h"
#include "nightreel/rank/options.h"
#include "nightreel/rank/past_times.h"
#include "nightreel/rank/publisher.h"
#include "nightreel/rank/render_unit.h"
#include "nightreel/rank/signals.h"
#include "nightreel/report/run_summary.h"

namespace nightreel::rank {

class ListWatch;

struct DrainLimits {
  StageLimits stages;
  double queue_away_s = 600;  // then this rank stops
  double first_pause_s = 1;   // between a renderer's death and the next start
  double poll_s = 0.3;        // between two questions for work while there is none
};

struct DrainParts {
  const RunOptions& options;
  const card::Card& card;
  const job::Recipe& recipe;
  OutputFolder out;
  queue::ClaimRequest who;  // min_pending: how many must wait before a second job is claimed
  queue::JobQueue& jobs;
  queue::LeaseKeeper& leases;
  RenderUnit& renderer;
  Publisher publisher;
  Signals& signals;
  std::function<void()> hurry;  // called once when asked to stop: no call to the queue may take long from now on
  base::Logger log;
  DrainLimits limits;
  memory::DeviceMemory memory = {};  // as the renderer's ready event has it: who does not fit fails for good
  queue::InboxTaker* inbox = nullptr;
  ListWatch* list = nullptr;  // of the run's first rank
  bool listed = false;        // the first rank watches over the run's files: nothing is over before it has said so
  std::function<bool()> content = {};  // asked when the queue is drained: is there nothing that has to be made again?
  PastTimes past = {};                 // for a run with a deadline
};

class Drain {
 public:
  explicit Drain(DrainParts parts)
      : p_(std::move(parts)), deaths_(p_.limits.first_pause_s), ready_(p_.renderer.ready()) {}
  /// Fills in `jobs`, `stopped_early` and `error`.
  void run(report::RankSummary& summary);

 private:
  // The loop (drain.cpp).
  bool turn();
  void step_down() const;
  bool drained();
  bool nothing_left(const queue::Counts& counts);
  bool is_over(const queue::Counts& counts);
  void look_at_list();
  std::ptrdiff_t most_in_hand() const;
  bool may_claim();
  void claim();
  void look_at_inbox() const;
  void note_rejects() const;
  JobInHand* last_in_line();
  void prefer_urgent();
  queue::ClaimRequest request() const;
  void begin(const queue::Lease& lease);
  void prepare(JobInHand& job);
  bool ends_in_time(const JobInHand& job);
  Anew anew(const JobInHand& job);
  bool may_send(const JobInHand& job) const;
  void send_next();
  void send(JobInHand& job);
  bool ask_queue(const std::function<void()>& question);
  void look_at_disk();
  void expect_slow_storage();
  std::chrono::milliseconds patience() const;

  // The renderer (drain_events.cpp).
  enum class Blame { jobs, nobody, host };  // for its end
  void listen();
  void hear(std::chrono::milliseconds patience);
  void handle(const RenderUnit::Event& event);
  void on_message(const protocol::Message& message);
  void on_ready(const protocol::ReadyEvent& event);
  void on_progress(const protocol::ProgressEvent& event);
  void on_done(const protocol::DoneEvent& event);
  void on_failed(const protocol::FailedEvent& event);
  void moved(JobInHand& job);
  void count_death(const std::vector<Charge>& charges);
  void on_death(const std::string& how, Blame blame = Blame::jobs);
  void end_renderer(const std::string& why, Blame blame = Blame::jobs);
  void look_at_jobs();
  void look_at(JobInHand& job);
  void cancel(JobInHand& job);
  JobInHand* find(std::uint64_t token);

  // What the queue hears (drain_endings.cpp).
  void settle_all();
  void settle(JobInHand& job);
  Inputs inputs_now(const JobInHand& job);
  void publish(JobInHand& job);
  void complete(JobInHand& job);
  void fail(JobInHand& job);
  void release(JobInHand& job);
  void finish(JobInHand& job);
  void lost(JobInHand& job);
  void note_failure(const JobInHand& job);
  void give_back_all();
  const JobInHand* ask_for_state();
  void result(const JobInHand& job, const std::string& state);

  DrainParts p_;
  report::RankSummary* summary_ = nullptr;
  std::list<JobInHand> in_hand_;  // in the order in which they were claimed
  Deaths deaths_;
  std::string last_death_;
  std::string starved_;  // the job whose renderer died last for want of the host's memory; others go before it
  Blame last_blame_ = Blame::jobs;
  std::string reason_;                    // why the last attempts failed, all for one reason
  std::set<std::string> failing_;         // and of which jobs
  double pause_s_ = 0;                    // before the next claim
  std::optional<queue::Counts> counted_;  // by this turn's claim, which found nothing
  std::string merged_;                    // the LoRA set that the renderer was last sent
  std::int64_t in_a_row_ = 0;             // how many jobs of it
  bool ready_;                            // the renderer has said so since it was last started
  InputHashes inputs_;
  base::Stopwatch since_claim_;
  base::Stopwatch since_count_;
  std::optional<std::int64_t> waits_for_lease_ms_;  // since nothing else is left: the last end of a lease at that time
  base::Stopwatch since_urgent_;
  std::optional<base::Stopwatch> queue_away_;  // since its first question that was not answered
  base::Stopwatch since_disk_;                 // was looked at, while the queue is away
};

}  // namespace nightreel::rank

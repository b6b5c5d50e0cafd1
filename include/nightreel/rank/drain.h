// The drain loop of one rank: claim, render, publish, complete, until nothing is left or somebody asks to stop.
//
// Owns the jobs in hand; the renderer, the queue and the rest belong to the caller. One thread. A job's failure is
// reported to the queue and never thrown; a queue that stays away ends the loop as stopped early.
#pragma once

#include <functional>
#include <list>
#include <utility>

#include "nightreel/job/model_card.h"
#include "nightreel/queue/lease.h"
#include "nightreel/rank/options.h"
#include "nightreel/rank/publisher.h"
#include "nightreel/rank/renderer.h"
#include "nightreel/rank/signals.h"
#include "nightreel/report/run_summary.h"

namespace nightreel::rank {

struct DrainParts {
  const RunOptions& options;
  const job::ModelCard& card;
  const job::Recipe& recipe;
  OutputFolder out;
  queue::ClaimRequest who;  // min_pending: how many must wait before a second job is claimed
  queue::JobQueue& jobs;
  queue::LeaseKeeper& leases;
  Renderer& renderer;
  Publisher publisher;
  Signals& signals;
  std::function<void()> hurry;  // called once when asked to stop: no call to the queue may take long from now on
  base::Logger log;
};

class Drain {
 public:
  explicit Drain(DrainParts parts) : p_(std::move(parts)) {}
  /// Fills in `jobs` and `stopped_early`.
  void run(report::RankSummary& summary);

 private:
  struct InHand {
    queue::Lease lease;
    job::Job job;
    job::Settings settings;
    std::uint64_t token = 0;
    bool denoising = true;  // or waiting to
    std::string stage;
    std::int64_t step = 0;
    std::int64_t steps = 0;
    base::Stopwatch since;
    base::Stopwatch denoising_since;
    std::int64_t first_step = 0;  // after a resume not 0
  };
  bool turn();
  bool drained();
  bool may_claim();
  void claim();
  void begin(const queue::Lease& lease);
  void send(const InHand& job);
  void on_message(const protocol::Message& message);
  static std::optional<double> seconds_left(const InHand& job);
  void on_progress(const protocol::ProgressEvent& event);
  void on_done(const protocol::DoneEvent& event);
  void on_failed(const protocol::FailedEvent& event);
  void on_death(const std::string& how);
  void restart();
  void look_at_leases();
  void give_back_all();
  void fail(const InHand& job, base::ErrorKind kind, const std::string& message, bool poison);
  void release(const InHand& job);
  void result(const InHand& job, const std::string& state, const std::string& video, const base::Error* error);
  void forget(std::uint64_t token);
  InHand* find(std::uint64_t token);

  DrainParts p_;
  report::RankSummary* summary_ = nullptr;
  std::list<InHand> in_hand_;  // in the order in which the renderer got them
  base::Stopwatch since_start_;
  base::Stopwatch since_claim_;
  base::Stopwatch since_count_;
  base::Stopwatch since_inbox_;
  base::Stopwatch since_death_;
  bool first_ = true;
  bool ready_ = true;  // the renderer has said so since it was last started
  int deaths_ = 0;     // in a row
  double longest_s_ = 0;
  base::Stopwatch since_queue_;  // since the queue last answered
};

}  // namespace nightreel::rank

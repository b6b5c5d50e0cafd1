// One job between its claim and the queue's last word about it, with what must not outlive it: the renewal of its lease
// and the temporary files of its attempt.
//
// A JobInHand owns both: however it ends, its lease is renewed no more and its temporary files are gone. One thread.
// Nothing here throws but the constructor of a job's own parts.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/log.h"
#include "nightreel/job/job.h"
#include "nightreel/protocol/message.h"
#include "nightreel/queue/lease.h"
#include "nightreel/rank/publisher.h"
#include "nightreel/rank/stage_watch.h"

namespace nightreel::rank {

/// Renews a lease for as long as it lives.
class HeldLease {
 public:
  HeldLease(queue::LeaseKeeper& keeper, const queue::Lease& lease, std::chrono::milliseconds limit);
  HeldLease(const HeldLease&) = delete;
  HeldLease& operator=(const HeldLease&) = delete;
  ~HeldLease() { drop(); }
  void drop() { keeper_.drop(ref_); }
  queue::LeaseState look() const { return keeper_.look(ref_); }
  void progress(const queue::Progress& progress, std::chrono::milliseconds limit) const {
    keeper_.progress(ref_, progress, limit);
  }

 private:
  queue::LeaseKeeper& keeper_;
  queue::LeaseRef ref_;
};

/// Removes what an attempt wrote under its temporary names. What cannot be removed is logged: it is litter, no error.
class TemporaryFiles {
 public:
  TemporaryFiles(const Publisher& publisher, Attempt attempt, base::Logger log)
      : publisher_(publisher), attempt_(std::move(attempt)), log_(std::move(log)) {}
  TemporaryFiles(const TemporaryFiles&) = delete;
  TemporaryFiles& operator=(const TemporaryFiles&) = delete;
  ~TemporaryFiles();
  /// They have their final names: there is nothing to look for.
  void published() { left_ = false; }

 private:
  const Publisher& publisher_;
  Attempt attempt_;
  base::Logger log_;
  bool left_ = true;
};

enum class Phase {
  held_back,  // not with the renderer yet
  waiting,    // with the renderer, behind another job
  denoising,  // stages text and denoise
  finishing,  // past denoising: decode, encode
  answered    // the renderer has said its last word about it, or is gone
};

/// What the queue is to hear about a job; told again and again until it has heard.
struct Ending {
  enum class Kind { none, publish, complete, fail, release };
  Kind kind = Kind::none;
  protocol::DoneEvent done;                           // publish
  std::vector<int> ranks;                             // that rendered it together; none: this one alone
  queue::Published published;                         // complete: the video has its final name
  base::ErrorKind error = base::ErrorKind::internal;  // fail
  std::string message;                                //
  bool poison = false;                                //
  bool alone = false;                                 // release
};

struct JobInHand {
  /// `patience`: until the first sign of progress, of this job or of those before it.
  JobInHand(const queue::Lease& claimed, queue::LeaseKeeper& keeper, std::chrono::milliseconds patience,
            const StageLimits& limits)
      : lease(claimed), held(keeper, claimed, patience), watch(limits) {}

  queue::Lease lease;
  HeldLease held;
  job::Job job;
  settings::Settings settings;
  std::map<std::string, std::string> inputs;  // as InputHashes has them, from before the renderer reads the files
  std::int64_t wave = 1;                      // how many like it a renderer takes together (memory::MemoryPlan)
  std::uint64_t token = 0;                    // the lease's, as the renderer hears it (queue::token_number)
  std::optional<TemporaryFiles> files;        // from when the renderer may write them
  Phase phase = Phase::held_back;
  Ending ending;
  bool over = false;  // the queue has heard, or the lease is lost: only the renderer may still be busy with it
  std::string stage;
  std::int64_t step = 0;
  std::int64_t steps = 0;
  std::int64_t first_step = 0;  // after a resume not 0
  base::Stopwatch denoising_since;
  base::Stopwatch since_look;
  double worked_s = 0;  // that the renderer has worked on it, which timeout_s is about
  StageWatch watch;

  bool at_renderer() const { return phase != Phase::held_back && phase != Phase::answered; }
  bool busy() const { return phase == Phase::denoising || phase == Phase::finishing; }
  void count_work() {
    if (busy()) worked_s += since_look.seconds();
    since_look = base::Stopwatch();
  }
};

}  // namespace nightreel::rank

// Keeps the leases of a rank's jobs alive, from a thread of its own, so that no GPU, file system or slow loop in the
// rank can let them run out, and lets them run out when a job makes no progress any more.
//
// Owns the thread and its connection to the queue. hold(), progress(), drop(), look() may be called from any thread.
// Nothing here fails: a renewal that the queue does not answer is tried again at the next turn, and what counts is
// the local deadline, past which the holder must stop and never publish. The destructor stops the thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "nightreel/base/cancel.h"
#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"

namespace nightreel::queue {

struct LeaseState {
  bool lost = false;              // the queue gave the job to another, or the deadline is past: stop, publish nothing
  bool stalled = false;           // no progress within the stage's limit: no longer renewed
  bool cancel_requested = false;  // somebody asked for the job's end: release() it
  Clock::time_point deadline;
};

class LeaseKeeper {
 public:
  /// Renews every `interval` (a third of the leases' TTL) through `queue`, which no other thread may use. `stop` is
  /// the flag of that connection's Patience: the destructor raises it, so that a call on a dead server ends at once.
  LeaseKeeper(std::unique_ptr<JobQueue> queue, std::chrono::milliseconds interval, base::CancelToken stop,
              base::Logger log);
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;
  ~LeaseKeeper();

  /// Renews the lease from now on. Its first stage must make progress within `stall_limit`.
  void hold(const Lease& lease, std::chrono::milliseconds stall_limit);
  /// The job moved: a step was made, or a stage began that may take up to `stall_limit` until its next sign of life.
  void progress(const LeaseRef& ref, const Progress& progress, std::chrono::milliseconds stall_limit);
  /// Before the lease is ended (completed, failed, released): it is renewed no more.
  void drop(const LeaseRef& ref);
  /// `lost` for a lease that is not held.
  LeaseState look(const LeaseRef& ref) const;

 private:
  struct Held {
    LeaseRef ref;
    Progress progress;
    Clock::time_point deadline;
    Clock::time_point stalls_at;
    bool lost = false;
    bool cancel_requested = false;
  };
  void run();
  void renew_all(std::unique_lock<std::mutex>& lock);
  void renew_one(const Held& held);

  const std::unique_ptr<JobQueue> queue_;
  const std::chrono::milliseconds interval_;
  const base::CancelToken stop_;
  const base::Logger log_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool news_ = false;                 // a job came further since the last renewal
  std::map<std::string, Held> held_;  // by token
  std::thread thread_;                // last: it uses all the above
};

}  // namespace nightreel::queue

// Has the queue keep what a run's first rank added to it: compares the run's own list with the queue once a minute, and
// before "nothing waits any more" is believed, and brings back what the queue has lost.
//
// Owns the list. One thread, that of the queue that it is given. Throws what the queue throws.
#pragma once

#include <functional>
#include <string>

#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"
#include "rank/own_list.h"

namespace nightreel::rank {

class ListWatch {
 public:
  using Now = std::function<queue::Clock::time_point()>;
  /// `to`: its incarnation is filled in here. `now`: tests' own clock.
  ListWatch(
      OwnList list, queue::BringBack to, base::Logger log, Now now = [] { return queue::Clock::now(); });

  /// The jobs have been added: what the queue says of them from now on is known.
  void begin(queue::JobQueue& jobs);
  /// A minute has passed since the last comparison.
  bool due() const;
  /// Compares, and brings back what is missing.
  void look(queue::JobQueue& jobs);
  /// Nothing waits in the queue: whether that is the end of the list, too. If so every rank of the run hears it in its
  /// next counts; if not, what is missing waits again.
  bool is_over(queue::JobQueue& jobs);
  /// At a moment when its run has nothing else to do: one of the two, as the queue's counts say. A queue that is away
  /// or refuses is told of once in the log; where nothing can be brought back any more (the queue is another model's)
  /// the run's other ranks need not wait for this one.
  void tend(queue::JobQueue& jobs);
  /// What counts for a job at the end (OwnList::word).
  queue::JobView word(const queue::JobView& now) const { return list_.word(now); }

 private:
  void look_as_counted(queue::JobQueue& jobs);
  void bring_back(queue::JobQueue& jobs, const std::vector<queue::LostJob>& lost);
  OwnList list_;
  queue::BringBack to_;
  base::Logger log_;
  Now now_;
  queue::Clock::time_point last_{};
  bool told_ = false;  // that it could not be tended
};

}  // namespace nightreel::rank

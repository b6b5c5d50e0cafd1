// The jobs of a run's files and what was last seen of each, so that a record that the queue has lost is missed.
//
// Plain values and decisions: nothing here asks the queue or touches a file but through `stands`. One thread. Throws
// what `stands` throws.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/queue/job_queue.h"

namespace nightreel::rank {

/// Whether the video of this job stands in OUT, whole: asked of a job that was done and is missing, once if it does.
using VideoStands = std::function<bool(const queue::Submission& job)>;

class OwnList {
 public:
  /// `max_attempts`: the run's, for jobs that state none.
  OwnList(std::vector<queue::Submission> jobs, std::string run, std::int64_t max_attempts, VideoStands stands);

  const std::vector<std::string>& ids() const { return ids_; }
  /// Takes in what the queue says now, one view a job in the order of ids(). Returns the jobs that it has lost: last
  /// seen pending, delayed, running or never, or done without a video that stands. Each with the attempts that it had
  /// used up, one less than allowed at most.
  std::vector<queue::LostJob> compare(const std::vector<queue::JobView>& now);
  /// Those that were not over at the last comparison although the queue may know them: waiting, or running here.
  std::vector<queue::LostJob> open() const;
  /// At the last comparison every job had ended or was another run's.
  bool over() const;
  /// What counts for a job of which the queue now says `now`: that; or what was last seen of one that it has lost and
  /// that had ended; or a failure, where it holds other content under the id. Jobs of others are as the queue has them.
  queue::JobView word(const queue::JobView& now) const;

 private:
  struct Own {
    queue::Submission job;
    queue::JobView seen;   // the last view that was of this job
    bool missing = false;  // the queue knows no such id
    bool other = false;    // it has other content under the id
    bool stands = false;   // the video of a missing one that was done
  };
  queue::LostJob lost(const Own& own) const;
  bool is_over(const Own& own) const;
  const Own* find(const std::string& id) const;

  std::vector<Own> jobs_;
  std::vector<std::string> ids_;
  std::string run_;
  std::int64_t max_attempts_;
  VideoStands stands_;
};

}  // namespace nightreel::rank

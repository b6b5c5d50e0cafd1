// Renderer deaths: who is charged, how long to wait before the next start, when to stop trying.
//
// Plain rules without resources; one thread. Nothing here fails.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "nightreel/base/clock.h"
#include "nightreel/rank/job_in_hand.h"

namespace nightreel::rank {

enum class Charge {
  none,       // it was not in the renderer
  free,       // goes back without using up its attempt
  bystander,  // likewise, and shares no renderer from now on, so that the next death is its own
  attempt     // uses up its attempt
};

/// For jobs in these phases when their renderer died. The job that was denoising is charged; where none was, all that
/// the renderer had.
std::vector<Charge> charge_death(const std::vector<Phase>& phases);

/// Deaths in a row, that is, without one finished denoising step between them. Those for want of the host's memory are
/// counted until a video is finished: a host that has too little for what comes behind the steps has too little.
class Deaths {
 public:
  static constexpr int kMost = 5;
  static constexpr int kMostOfHost = 3;
  explicit Deaths(double first_pause_s) : first_pause_s_(first_pause_s) {}
  void died();
  /// `jobs`: ids of those that it was busy with.
  void died_of_host(const std::vector<std::string>& jobs);
  void step_finished() { in_a_row_ = 0; }
  void video_finished();
  bool too_many() const { return in_a_row_ >= kMost; }
  int in_a_row() const { return in_a_row_; }
  /// Three for want of the host's memory, and not all of one job, which then wants too much and fails for it.
  bool host_has_too_little() const { return of_host_ >= kMostOfHost && starved_.size() != 1; }
  /// The pause doubles with each death in a row, up to a minute.
  bool may_restart() const;

 private:
  double first_pause_s_;
  int in_a_row_ = 0;
  int of_host_ = 0;
  std::set<std::string> starved_;  // ids of jobs
  base::Stopwatch since_last_;
};

}  // namespace nightreel::rank

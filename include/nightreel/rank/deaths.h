// Renderer deaths: who is charged, how long to wait before the next start, when to stop trying.
//
// Plain rules without resources; one thread. Nothing here fails.
#pragma once

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

/// Deaths in a row, that is, without one finished denoising step between them.
class Deaths {
 public:
  static constexpr int kMost = 5;
  static constexpr int kMostOfHost = 3;  // for want of the host's memory: before a lone job has used up its attempts
  explicit Deaths(double first_pause_s) : first_pause_s_(first_pause_s) {}
  void died();
  void step_finished() { in_a_row_ = 0; }
  bool too_many() const { return in_a_row_ >= kMost; }
  int in_a_row() const { return in_a_row_; }
  /// The pause doubles with each death in a row, up to a minute.
  bool may_restart() const;

 private:
  double first_pause_s_;
  int in_a_row_ = 0;
  base::Stopwatch since_last_;
};

}  // namespace nightreel::rank

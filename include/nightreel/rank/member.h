// A rank whose renderer works for another rank: the group's first, which alone claims, publishes and decides.
//
// Uses the rank's renderer and the group's link; one thread, that of both. It passes lines down to the renderer and
// events up, starts and ends the renderer when told, gives a sign of life every second, and hands on what signals ask
// for. Throws what the link throws.
#pragma once

#include <string>

#include "nightreel/cluster/groups.h"
#include "nightreel/rank/renderer.h"
#include "nightreel/rank/signals.h"

namespace nightreel::rank {

class Member {
 public:
  /// `renderer`: running and ready.
  Member(cluster::GroupLink& link, Renderer& renderer, const Signals& signals, base::Logger log)
      : link_(link), renderer_(renderer), signals_(signals), log_(std::move(log)) {}
  /// Until the first rank says that the run is over, or a short time after a signal to stop. No renderer runs
  /// afterwards. Returns why this rank was put out of its group; empty: it was not.
  std::string serve();

 private:
  void take(const std::string& text);
  void pass_events();
  void start_if_wanted();
  void tell(const std::string& what, const std::string& text, const std::string& words = "");
  void tell_signs();
  bool over();
  cluster::GroupLink& link_;
  Renderer& renderer_;
  const Signals& signals_;
  base::Logger log_;
  std::int64_t start_ = 0;
  bool wanted_ = false;  // the renderer is to be started
  bool ended_ = false;
  std::string out_;
  Ask told_ = Ask::go_on;  // the first rank knows
  base::Stopwatch since_sign_;
  std::optional<base::Stopwatch> stopping_;
};

}  // namespace nightreel::rank

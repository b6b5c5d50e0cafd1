// A rank whose renderer works for another rank: the group's first, which alone claims, publishes and decides.
//
// Uses the rank's renderer and the group's link; one thread, that of both. It passes lines down to the renderer and
// events up, starts and ends the renderer when told, gives a sign of life every second, and hands on what signals ask
// for. A first rank that gives no sign of life itself is left: whoever hears of that later (it was frozen) finds its
// group gone. Throws what the link throws.
#pragma once

#include <string>

#include "nightreel/cluster/groups.h"
#include "nightreel/rank/renderer.h"
#include "nightreel/rank/signals.h"
#include "nightreel/rank/silence.h"

namespace nightreel::rank {

struct FirstRank {
  std::string name;             // for people
  double silence_limit_s = 45;  // without a sign of life of it, which comes every second; it may ask for more
};

struct MemberEnd {
  enum class Kind {
    over,  // the first rank said so, or this one was told to stop
    out,   // likewise; it had been put out of its group before
    left   // the first rank is silent: this one may go on alone
  };
  Kind kind = Kind::over;
  std::string why;  // of out and left; for people
};

class Member {
 public:
  /// `renderer`: running and ready.
  Member(cluster::GroupLink& link, FirstRank first, Renderer& renderer, const Signals& signals, base::Logger log)
      : link_(link),
        first_(std::move(first)),
        renderer_(renderer),
        signals_(signals),
        log_(std::move(log)),
        silence_limit_s_(first_.silence_limit_s) {}
  /// Until the run is over, a short time after a signal to stop, or until the group is left. No renderer runs
  /// afterwards.
  MemberEnd serve();

 private:
  void take(const std::string& text);
  void pass_events();
  void start_if_wanted();
  void tell(const std::string& what, const std::string& text, const std::string& words = "");
  void tell_signs();
  void look_for_first();
  bool over();
  cluster::GroupLink& link_;
  FirstRank first_;
  Renderer& renderer_;
  const Signals& signals_;
  base::Logger log_;
  std::int64_t start_ = 0;
  bool wanted_ = false;  // the renderer is to be started
  bool ended_ = false;
  std::string out_;
  std::string left_;
  Silence silence_;  // of the first rank
  double silence_limit_s_;
  Ask told_ = Ask::go_on;  // the first rank knows
  base::Stopwatch since_sign_;
  std::optional<base::Stopwatch> stopping_;
};

}  // namespace nightreel::rank

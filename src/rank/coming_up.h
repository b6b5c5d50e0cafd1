// A renderer between its start and its `ready`.
//
// Plain function; the renderer's thread. One that dies on the way is started again, alone where it was to read the
// weights with others; what it reports itself is final.
#pragma once

#include <functional>

#include "nightreel/base/log.h"
#include "nightreel/protocol/message.h"
#include "nightreel/rank/renderer.h"

namespace nightreel::rank {

/// Starts of a renderer that dies while it loads, after the first and after one together with others.
inline constexpr int kStartsAgain = 2;

struct ComingUp {
  bool together = false;       // it was told whom to read the weights with (startup.h, load_together)
  double meeting_limit_s = 0;  // until it must have met them
  double loading_limit_s = 0;  // from the first start on: after that a death is final, as is a silence of that length
};

/// What the renderer, which may not run any more, says in the end. Throws Error of the kind that it failed with
/// (model, environment, device, …), Error{renderer} where it died once too often, Error{interrupted}. `interrupted` is
/// asked between two polls.
protocol::ReadyEvent come_up(Renderer& renderer, const ComingUp& how, const std::function<bool()>& interrupted,
                             const base::Logger& log);

}  // namespace nightreel::rank

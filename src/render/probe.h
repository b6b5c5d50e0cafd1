// What a renderer answers to `probe` and `group`, with a model or without.
#pragma once

#include "nightreel/protocol/message.h"
#include "render/events.h"
#include "render/group.h"

namespace nightreel::render {

/// Sends `probed` or `rendezvous`; where that fails, `failed` about no job. Blocks for as long as it takes: the other
/// members', or a whole checkpoint's, time. Throws Error{renderer} for a request that makes no sense.
void answer_probe(const protocol::Message& message, Groups& groups, Events& events);

}  // namespace nightreel::render

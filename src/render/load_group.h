// Whom a renderer loads its model with, which it is told before anything else.
//
// Plain function; the thread that reads requests. Throws Error{interrupted} where it is told to end instead.
#pragma once

#include <memory>

#include "nightreel/base/log.h"
#include "nightreel/base/pipe.h"
#include "nightreel/comm/communicator.h"
#include "render/events.h"
#include "render/group.h"

namespace nightreel::render {

/// Answers `group` until one has an address, and joins it. Null: to be loaded alone. Throws Error{comm} where NCCL's
/// group does not meet: the rank starts another renderer then, which loads alone.
std::unique_ptr<comm::Communicator> meet_to_load(base::LineReader& requests, Groups& groups, Events& events,
                                                 const base::Logger& log);

}  // namespace nightreel::render

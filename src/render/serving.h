// A renderer's life once its model is there, with whatever makes the videos: server.h's four threads.
//
// Connection: the caller's thread, but for the events, which are any thread's.
#pragma once

#include <memory>

#include "nightreel/base/pipe.h"
#include "nightreel/protocol/message.h"
#include "nightreel/render/maker.h"
#include "render/events.h"
#include "render/group.h"
#include "render/limits.h"

namespace nightreel::render {

/// What a renderer has of its rank: requests, where events go, and the groups that it was told of.
struct Connection {
  Connection(int request_fd, int event_fd) : events(event_fd), requests(request_fd, protocol::kMaxLine) {}
  Events events;
  base::LineReader requests;
  Groups groups;
};

/// Says `ready`, serves until told to stop, returns the process's exit code. `threads`: of LibTorch's CPU kernels.
/// Throws Error{renderer} where requests make no sense.
int serve_with(Connection& rank, std::unique_ptr<Maker> maker, int threads, const Limits& limits = {});

}  // namespace nightreel::render

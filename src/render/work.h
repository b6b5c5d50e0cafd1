// What goes from thread to thread in a renderer: jobs to render, places in a group to take, videos to write.
//
// Plain values.
#pragma once

#include <exception>
#include <memory>
#include <variant>

#include "nightreel/base/cancel.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/protocol/message.h"
#include "nightreel/render/maker.h"
#include "render/agreement.h"

namespace nightreel::render {

struct Work {
  protocol::RenderRequest request;
  Prepared prepared;
  base::CancelToken cancel;
  std::exception_ptr problem;  // in a group, where all must hear of it first
};

/// A place in a group that stays, and what its members meet at.
struct Seat {
  protocol::GroupRequest request;
  std::unique_ptr<comm::Rendezvous> rendezvous;
};

using Task = std::variant<Work, Seat>;

inline bool is_work(const Task& task) {
  return std::holds_alternative<Work>(task);
}

inline bool is_about(const protocol::RenderRequest& request, const Order& order) {
  return request.job == order.job && request.token == order.token;
}

struct Finished {
  Work work;
  Rendered rendered;
};

}  // namespace nightreel::render

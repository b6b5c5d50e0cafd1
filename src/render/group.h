// How a renderer meets the others: it makes a rendezvous, or joins one and adds up ones to see that all are there.
#pragma once

#include <functional>
#include <memory>

#include "nightreel/comm/communicator.h"
#include "nightreel/protocol/message.h"

namespace nightreel::render {

/// Joins and checks the sum. Throws Error{comm}.
std::unique_ptr<comm::Communicator> join_group(const protocol::GroupRequest& request);

/// Owns the rendezvous that others meet at. One thread.
class Groups {
 public:
  /// An empty address: makes a rendezvous. Else joins, checks the sum and leaves. Throws Error{comm}.
  protocol::RendezvousEvent answer(const protocol::GroupRequest& request);
  /// Joins, checks the sum, lets `work` have the communicator and leaves in an orderly way. Throws Error{comm}.
  void visit(const protocol::GroupRequest& request, const std::function<void(comm::Communicator&)>& work);
  /// For who outlives a group that stays; null where there is none.
  std::unique_ptr<comm::Rendezvous> hand_over() { return std::move(rendezvous_); }

 private:
  std::unique_ptr<comm::Rendezvous> rendezvous_;
};

}  // namespace nightreel::render

// Which ranks render a video together, and the small messages between them.
//
// group_ranks is a plain rule. A GroupLink owns a communicator of MPI's; the World's thread uses it, the World must
// outlive it, and no call of it waits: a rank that is frozen, or gone, holds up nobody. Failed calls of MPI are
// Error{environment}.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/cluster/mpi.h"

namespace nightreel::cluster {

/// Groups of `size` ranks, neighbours on a host first; what hosts have left over meets across hosts, and what is left
/// over of all ranks is alone. The ranks of a group are in the order of the world, and so are groups by their first.
std::vector<std::vector<int>> group_ranks(const std::vector<Place>& places, int size);

class GroupLink {
 public:
  GroupLink(const GroupLink&) = delete;
  GroupLink& operator=(const GroupLink&) = delete;
  ~GroupLink();
  /// Ranks of the world, this one among them; a link's messages go between places in this list.
  const std::vector<int>& ranks() const { return ranks_; }
  std::size_t index() const { return index_; }
  /// Leaves in order, one after the other. Kept until the other side has taken it.
  void send(std::size_t to, const std::string& message);
  /// The next message of `from` that has arrived whole.
  std::optional<std::string> receive(std::size_t from);

 private:
  friend class World;
  struct Impl;
  GroupLink(std::unique_ptr<Impl> impl, std::vector<int> ranks, std::size_t index);
  std::unique_ptr<Impl> impl_;
  std::vector<int> ranks_;
  std::size_t index_;
};

}  // namespace nightreel::cluster

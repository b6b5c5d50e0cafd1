// The store back-end's bytes: what one collective call puts into the TCP store and takes out of it.
//
// LibTorch's TCPStore is called here and nowhere else. A call posts its pieces, then a header that says what it is;
// whoever sees all headers knows that all pieces are there, and that the ranks agree or which of them differ. A call
// removes what this rank posted in the call before, which all have read once they have posted their next header, so
// the store holds two calls at most.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace nightreel::comm {

/// A TCP store listening on one interface. Owns the server thread.
class StoreServer {
 public:
  explicit StoreServer(const std::string& interface_address);
  ~StoreServer();
  /// "127.0.0.1:41233/TOKEN", "[::1]:41233/TOKEN": what members need to meet here, and nobody else is to know.
  const std::string& address() const { return address_; }
  /// Keys of members that the store holds now.
  std::int64_t keys() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

struct Take {
  int source;         // rank
  int piece;          // of those that it posted
  at::Tensor buffer;  // contiguous; filled
};

/// A place in a group that meets at a store. Several groups may, as parts of one another.
struct Seat {
  std::string address;
  std::string prefix;        // of the group's keys: empty for the first group, else unlike any other group's
  std::vector<int> members;  // what messages call its ranks: their ranks in the first group
  int rank = 0;              // this one's, an index into members
};

/// One member's connection. One thread.
class Mailbox {
 public:
  /// Connects and meets the others.
  Mailbox(Seat seat, std::chrono::milliseconds deadline);
  ~Mailbox();
  /// One call. Posts `pieces` (undefined ones are left out) under `header`, checks that all ranks have the same
  /// header, fills the buffers of `takes`. Throws Error{comm}; the buffers are then not to be looked at, and every
  /// later call throws the same.
  void exchange(const std::string& header, std::vector<at::Tensor> pieces, std::vector<Take> takes);
  /// As exchange(), for a call that this rank cannot make: the others learn why at once.
  [[noreturn]] void refuse(const std::string& problem);
  /// The last call of all members. When rank 0 returns, nobody needs the server any more and it is empty.
  void leave();

 private:
  struct State;
  template <typename Work>
  void guarded(const Work& work);
  std::shared_ptr<State> state_;
  std::string broken_;
};

}  // namespace nightreel::comm

// The verbs that renderers speak to each other with, the same over NCCL, over a TCP store and alone.
//
// A Communicator belongs to one thread. Every call is collective: all ranks of the group make the same calls in the
// same order with the same shapes and dtypes. Every call has a deadline, counted from this rank's own entry. Past it,
// or when a member is gone or makes another call, it throws base::Error{comm}, and the communicator is then unusable:
// each later call throws the same reason. `store` names the ranks that are missing or that differ; `nccl` cannot know
// which they are and says what it waited for.
//
// Tensors live on the CPU (`store`) or on the communicator's GPU (`nccl`). Those changed in place must be contiguous.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace nightreel::comm {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Fills `tensor` on every rank with that of `root`. In place.
  virtual void broadcast(at::Tensor& tensor, int root) = 0;
  /// The ranks' tensors (equal shapes) concatenated along dimension 0, in rank order. A group of one returns the
  /// argument itself, here, in all_to_all and in shift.
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;
  /// The same into `out`, contiguous and of the answer's shape, so that one buffer serves many calls.
  virtual void all_gather_into(at::Tensor& out, const at::Tensor& tensor) = 0;
  /// Dimension 0 is split evenly over the ranks; piece j goes to rank j; the answer is the pieces received, in rank
  /// order, concatenated along dimension 0.
  virtual at::Tensor all_to_all(const at::Tensor& tensor) = 0;
  /// A step of a ring: goes to rank + by, and the answer is what rank - by sent (both modulo size; equal shapes).
  virtual at::Tensor shift(const at::Tensor& tensor, int by) = 0;
  /// Sum over the ranks, in place; floating-point and integer types. On `store` the order of addition is rank order:
  /// the same bits on every rank.
  virtual void all_reduce(at::Tensor& tensor) = 0;
  /// Cuts the group up: members that give the same `part` (0 or more) form a group of their own, in the order of their
  /// ranks here, with the same deadline. A part's errors name the ranks of the group that was first cut. Parts are
  /// finalised, or dropped, before what they were cut from.
  virtual std::unique_ptr<Communicator> split(int part) = 0;
  /// Ends the communicator in an orderly way, on all ranks. When rank 0 returns, no member needs the rendezvous any
  /// more. Without it the destructor lets go at once (nccl: aborts), and other members fail at their next call.
  virtual void finalize() = 0;
};

struct Options {
  std::chrono::milliseconds deadline{60000};  // of each call, and of the set-up
};

/// A group of one: every verb is the identity.
std::unique_ptr<Communicator> make_single();

/// What rank 0 makes and hands to the others (through its rank and MPI) so that they meet. One rendezvous serves one
/// group, once; it must outlive rank 0's finalize().
/// `store`: "host:port/TOKEN" of a TCP store that lives in the returned object; `nccl`: the unique id in hex. Both let
/// in whoever has them, and are for the group's members alone.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  virtual std::string address() const = 0;
};

/// Listens on `interface_address` (a numeric IPv4 or IPv6 address of this host) alone, on a port that the system
/// chooses. Loopback or CPU runs only: who does not have the token finds and places nothing, but can fill the store and
/// read its traffic.
std::unique_ptr<Rendezvous> make_store_rendezvous(const std::string& interface_address);
/// Returns when all `size` members have come.
std::unique_ptr<Communicator> make_store(const std::string& address, int rank, int size, const Options& options);

// From here on only in a build with CUDA; another one does not link a call. No #ifdef: the layers that include this
// file are then the same in both.

/// Of the library that is loaded: "2.28.9".
std::string nccl_version();

std::unique_ptr<Rendezvous> make_nccl_rendezvous();
/// Uses the current CUDA device, and at each call the current stream; the call returns when the work is done. Returns
/// when all `size` members have come.
std::unique_ptr<Communicator> make_nccl(const std::string& address, int rank, int size, const Options& options);

}  // namespace nightreel::comm

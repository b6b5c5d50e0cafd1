// The verbs that renderers speak to each other with, the same over NCCL, over a TCP store and alone.
//
// A Communicator belongs to one thread. Every call is collective: all ranks of the group make the same calls in the
// same order with matching shapes. Every call has a deadline; past it, or when a member is gone, it throws
// base::Error{comm} that names the missing ranks, and the communicator is then unusable.
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
  /// The ranks' tensors (equal shapes) concatenated along dimension 0, in rank order.
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;
  /// Dimension 0 is split evenly over the ranks; piece j goes to rank j; the answer is the pieces received, in rank
  /// order, concatenated along dimension 0.
  virtual at::Tensor all_to_all(const at::Tensor& tensor) = 0;
  /// Sum over the ranks, in place. On `store` the order of addition is rank order: the same bits on every rank.
  virtual void all_reduce(at::Tensor& tensor) = 0;
  /// Ends the communicator in an orderly way, on all ranks.
  virtual void finalize() = 0;
};

struct Options {
  std::chrono::milliseconds deadline{60000};  // of each call, and of the set-up
};

/// A group of one: every verb is the identity.
std::unique_ptr<Communicator> make_single();

/// What rank 0 makes and hands to the others (through its rank and MPI) so that they meet.
/// `store`: "host:port" of a TCP store that lives in the returned object; `nccl`: the unique id in hex.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  virtual std::string address() const = 0;
};

/// Loopback or CPU runs only: the store has no authentication.
std::unique_ptr<Rendezvous> make_store_rendezvous(const std::string& interface_address);
std::unique_ptr<Communicator> make_store(const std::string& address, int rank, int size, const Options& options);

#ifdef NIGHTREEL_CUDA
std::unique_ptr<Rendezvous> make_nccl_rendezvous();
/// Uses the current CUDA device.
std::unique_ptr<Communicator> make_nccl(const std::string& address, int rank, int size, const Options& options);
#endif

}  // namespace nightreel::comm

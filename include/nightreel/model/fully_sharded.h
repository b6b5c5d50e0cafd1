// A transformer's blocks fully sharded over a group of ranks, for GPUs too small for an expert: each rank keeps 1/N of
// every block's bytes, and has the rest gathered for as long as the block computes (FSDP: Zhao et al.,
// arXiv:2304.11277; ZeRO-3: Rajbhandari et al., arXiv:1910.02054).
//
// FlatParameter owns one block's shard and points into the module whose tensors it stands for; UnshardedPass owns two
// buffers of a block each for one pass over all blocks. Both belong to the thread that computes. A pass is collective:
// all ranks go through the same blocks in the same order, on a communicator that nobody uses meanwhile (see
// prefetch()). Throws base::Error{comm}; the communicator's deadline is each gather's.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <array>
#include <cstdint>
#include <future>
#include <optional>
#include <vector>

#include "nightreel/comm/communicator.h"

namespace nightreel::model {

/// This rank's place among those that blocks are sharded over.
struct ShardSeat {
  int rank = 0;
  int size = 1;
  bool sharded() const { return size > 1; }
  bool operator==(const ShardSeat& other) const { return rank == other.rank && size == other.size; }
  bool operator!=(const ShardSeat& other) const { return !(*this == other); }
};

/// The tensors of one block, one behind the other as bytes, and this rank's share of them.
class FlatParameter {
 public:
  FlatParameter() = default;
  FlatParameter(const FlatParameter&) = delete;
  FlatParameter& operator=(const FlatParameter&) = delete;
  FlatParameter(FlatParameter&&) = default;
  FlatParameter& operator=(FlatParameter&&) = default;
  ~FlatParameter() = default;

  /// `tensor`, a place in the module that stays where it is, will be of this shape and dtype. Before allocate().
  void add(at::Tensor& tensor, std::vector<std::int64_t> shape, at::ScalarType dtype);
  /// Makes room for this rank's share, once.
  void allocate(const ShardSeat& seat, at::Device device);

  /// Keeps what of `values`, which `tensor` shall have, is in this rank's share; on any device.
  void store(const at::Tensor& tensor, const at::Tensor& values);

  /// Bytes [1/N of all]. It may be exchanged for a copy on another device; store() leaves another tensor here, so that
  /// who keeps copies can tell.
  at::Tensor& shard() { return shard_; }
  const at::Tensor& shard() const { return shard_; }
  /// Of all shards: the tensors, each aligned, and the padding to N equal shards.
  std::int64_t bytes() const { return shard_.numel() * seat_.size; }

  /// The module's tensors are views of `bytes`, all shards one behind the other, until reshard(); then undefined.
  void unshard(const at::Tensor& bytes);
  void reshard();

 private:
  struct Entry {
    at::Tensor* tensor;
    std::vector<std::int64_t> shape;
    at::ScalarType dtype;
    std::int64_t begin;
    std::int64_t bytes;
  };
  std::vector<Entry> entries_;
  std::int64_t end_ = 0;  // of the last entry
  ShardSeat seat_;
  at::Tensor shard_;
};

/// One pass over all blocks, in their order. Where there is nothing sharded every call does nothing.
class UnshardedPass {
 public:
  /// `blocks` and `group`, whose ranks are those that the blocks are sharded over, must outlive it. Throws
  /// Error{internal} where blocks are sharded and there is no group.
  UnshardedPass(std::vector<FlatParameter>& blocks, comm::Communicator* group);
  UnshardedPass(const UnshardedPass&) = delete;
  UnshardedPass& operator=(const UnshardedPass&) = delete;
  ~UnshardedPass();

  /// The block's weights are here, and those of the one before no longer.
  void enter(std::size_t block);
  /// Starts to gather the next block's weights. Until the next enter() this rank must make no collective call: so all
  /// ranks make theirs in one order, whatever communicators they go over, and no two of them run at a time.
  void prefetch();

 private:
  void gather(std::size_t block);

  std::vector<FlatParameter>& blocks_;
  comm::Communicator* group_;
  std::optional<std::size_t> entered_;
  std::size_t next_ = 0;               // to gather
  std::optional<c10::Stream> stream_;  // on a GPU: the gathers' own
  std::array<at::Tensor, 2> buffers_;  // of even blocks, of odd ones
  std::future<void> gathering_;        // destroyed first, which waits for its end
};

}  // namespace nightreel::model

// A transformer's tokens dealt out over a group of ranks: each computes on its own, and they meet in attention alone.
//
// Attention goes over the heads where their number allows it (DeepSpeed-Ulysses, Jacobs et al., arXiv:2309.14509: an
// all-to-all turns some tokens of all heads into all tokens of some heads), and for the factor of the group that does
// not divide the heads over the keys (Ring Attention, Liu et al., arXiv:2310.01889): 40 heads over 8 ranks are 8 times
// 5 heads; over 3 ranks the keys go round; over 6 it is 2 times 20 heads on each of 3 blocks of keys.
//
// Owns the communicators of its parts, not the group's own, which must outlive it. Like a Communicator it belongs to
// one thread, its calls are collective, and they throw base::Error{comm}. Alone, every call is the identity.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "nightreel/comm/communicator.h"

namespace nightreel::model {

/// The tokens of one rank: `count` of them from `begin` on, the same number on every rank. Of those at and behind
/// `total` there is none in the sequence: they are zeros that nobody attends to.
struct TokenShare {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t total = 0;

  /// How many of this rank's tokens are among the sequence's first `tokens`.
  std::int64_t among_first(std::int64_t tokens) const;
};

class SequenceParallel {
 public:
  /// Alone.
  SequenceParallel() = default;
  /// All of `group`, for a transformer of `heads` heads. Collective: it may split the group.
  SequenceParallel(comm::Communicator& group, std::int64_t heads);

  TokenShare share(std::int64_t total) const;

  /// This rank's part of `x` along `axis`, which counts tokens.
  at::Tensor take(const at::Tensor& x, const TokenShare& share, std::int64_t axis) const;
  /// The way back: from every rank's x_BsD [B, share.count, D] to [B, share.total, D].
  at::Tensor gather(const at::Tensor& x_BSD, const TokenShare& share) const;

  /// ops::attention of this rank's queries to the keys of all ranks; all [B, share.count, H, D].
  at::Tensor attention(const at::Tensor& q_BSHD, const at::Tensor& k_BSHD, const at::Tensor& v_BSHD,
                       const TokenShare& share) const;

  /// Ends the parts in an orderly way, before the group itself.
  void finalize();

 private:
  std::int64_t size() const { return group_ == nullptr ? 1 : group_->size(); }
  std::int64_t ring_size() const { return ring_ == nullptr ? 1 : ring_->size(); }
  at::Tensor heads_to_tokens(const at::Tensor& x_BSHD) const;
  at::Tensor attention_of_heads(const at::Tensor& qkv_3BSHD, const TokenShare& share) const;

  comm::Communicator* group_ = nullptr;  // null: alone
  comm::Communicator* heads_ = nullptr;  // ranks that deal out the heads of one block of tokens; null: none
  comm::Communicator* ring_ = nullptr;   // ranks that have the same heads of other blocks; null: none
  std::unique_ptr<comm::Communicator> heads_part_, ring_part_;
};

}  // namespace nightreel::model

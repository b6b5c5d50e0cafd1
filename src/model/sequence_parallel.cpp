// B batch, S tokens of this rank, H heads, D size of a head or width of the model; U ranks that share out the heads.
#include "nightreel/model/sequence_parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "nightreel/ops/attention.h"

namespace nightreel::model {

std::int64_t TokenShare::among_first(std::int64_t tokens) const {
  return std::clamp<std::int64_t>(tokens - begin, 0, count);
}

SequenceParallel::SequenceParallel(comm::Communicator& group, std::int64_t heads) {
  if (group.size() == 1) return;
  group_ = &group;
  // Ranks next to each other, which are nearest, share out heads: there goes most of the data.
  const int over_heads = std::gcd(group.size(), static_cast<int>(heads % group.size()));
  if (over_heads == group.size()) {
    heads_ = group_;
  } else if (over_heads == 1) {
    ring_ = group_;
  } else {
    heads_part_ = group.split(group.rank() / over_heads);
    ring_part_ = group.split(group.rank() % over_heads);
    heads_ = heads_part_.get();
    ring_ = ring_part_.get();
  }
}

TokenShare SequenceParallel::share(std::int64_t total) const {
  const std::int64_t count = (total + size() - 1) / size();
  return {group_ == nullptr ? 0 : group_->rank() * count, count, total};
}

at::Tensor SequenceParallel::take(const at::Tensor& x, const TokenShare& share, std::int64_t axis) const {
  if (group_ == nullptr) return x;
  const at::Tensor own = x.slice(axis, share.begin, share.begin + share.count);
  const std::int64_t missing = share.count - own.size(axis);
  if (missing == 0) return own;
  std::vector<std::int64_t> padding = own.sizes().vec();
  padding[static_cast<std::size_t>(axis)] = missing;
  return at::cat({own, at::zeros(padding, own.options())}, axis);
}

at::Tensor SequenceParallel::gather(const at::Tensor& x_BSD, const TokenShare& share) const {
  if (group_ == nullptr) return x_BSD;
  return group_->all_gather(x_BSD.unsqueeze(0)).transpose(0, 1).flatten(1, 2).slice(1, 0, share.total);
}

at::Tensor SequenceParallel::attention(const at::Tensor& q_BSHD, const at::Tensor& k_BSHD, const at::Tensor& v_BSHD,
                                       const TokenShare& share) const {
  if (group_ == nullptr) return ops::attention(q_BSHD, k_BSHD, v_BSHD);
  at::Tensor qkv_3BSHD = at::stack({q_BSHD, k_BSHD, v_BSHD});
  if (heads_ == nullptr) return attention_of_heads(qkv_3BSHD, share).to(q_BSHD.scalar_type());
  const std::int64_t ranks = heads_->size();
  // Heads of rank u first, then from rank u; tokens of all ranks of the block behind each other.
  const at::Tensor dealt_U3BSHD = heads_->all_to_all(qkv_3BSHD.unflatten(3, {ranks, -1}).movedim(3, 0));
  qkv_3BSHD = dealt_U3BSHD.movedim(0, 2).flatten(2, 3);
  return heads_to_tokens(attention_of_heads(qkv_3BSHD, share).to(q_BSHD.scalar_type()));
}

/// [B, tokens of the block, some heads, D] to [B, own tokens, all heads, D].
at::Tensor SequenceParallel::heads_to_tokens(const at::Tensor& x_BSHD) const {
  const at::Tensor dealt_UBSHD = heads_->all_to_all(x_BSHD.unflatten(1, {heads_->size(), -1}).movedim(1, 0));
  return dealt_UBSHD.movedim(0, 2).flatten(2, 3);
}

/// The queries of this rank's block to the keys of all blocks, for the heads that are here.
at::Tensor SequenceParallel::attention_of_heads(const at::Tensor& qkv_3BSHD, const TokenShare& share) const {
  const at::Tensor q_BSHD = qkv_3BSHD[0];
  const std::int64_t block = q_BSHD.size(1);
  if (ring_ == nullptr) {
    const at::Tensor kv_2BSHD = qkv_3BSHD.slice(0, 1).slice(2, 0, share.total);
    return ops::attention(q_BSHD, kv_2BSHD[0], kv_2BSHD[1]);
  }
  at::Tensor kv_2BSHD = qkv_3BSHD.slice(0, 1).contiguous();
  ops::PartialAttention sum;
  for (std::int64_t step = 0; step < ring_size(); ++step) {
    if (step > 0) kv_2BSHD = ring_->shift(kv_2BSHD, 1);
    const std::int64_t from = (ring_->rank() + ring_size() - step) % ring_size() * block;
    const std::int64_t keys = std::clamp<std::int64_t>(share.total - from, 0, block);
    if (keys == 0) continue;
    const at::Tensor there_2BSHD = kv_2BSHD.slice(2, 0, keys);
    ops::merge(sum, ops::partial_attention(q_BSHD, there_2BSHD[0], there_2BSHD[1]));
  }
  return sum.out_BSHD;
}

void SequenceParallel::finalize() {
  for (auto* part : {&ring_part_, &heads_part_}) {
    if (*part != nullptr) (*part)->finalize();
  }
}

}  // namespace nightreel::model

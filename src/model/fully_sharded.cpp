#include "nightreel/model/fully_sharded.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "nightreel/base/error.h"
#include "nightreel/weights/tensor_bytes.h"

namespace nightreel::model {

namespace {

using base::Error;
using base::ErrorKind;

constexpr std::int64_t kAlignment = 512;  // of tensors and shards, as CUDA's own allocations

}  // namespace

void FlatParameter::add(at::Tensor& tensor, std::vector<std::int64_t> shape, at::ScalarType dtype) {
  auto bytes = static_cast<std::int64_t>(c10::elementSize(dtype));
  for (const std::int64_t size : shape) bytes *= size;
  entries_.push_back({&tensor, std::move(shape), dtype, weights::round_up(end_, kAlignment), bytes});
  end_ = entries_.back().begin + bytes;
}

void FlatParameter::allocate(const ShardSeat& seat, at::Device device) {
  seat_ = seat;
  const std::int64_t share = weights::round_up(end_, kAlignment * seat.size) / seat.size;
  shard_ = at::zeros({share}, at::TensorOptions(at::kByte).device(device));
}

void FlatParameter::store(const at::Tensor& tensor, const at::Tensor& values) {
  const auto entry =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& one) { return one.tensor == &tensor; });
  if (entry == entries_.end() || values.sizes() != entry->shape || values.scalar_type() != entry->dtype) {
    throw Error(ErrorKind::internal, "sharded weights: a tensor that is not of this block");
  }
  const std::int64_t share = shard_.numel() * seat_.rank;
  const std::int64_t from = std::max(entry->begin, share);
  const std::int64_t to = std::min(entry->begin + entry->bytes, share + shard_.numel());
  if (from >= to) return;
  shard_.narrow(0, from - share, to - from).copy_(weights::as_bytes(values).narrow(0, from - entry->begin, to - from));
  shard_ = shard_.view({-1});
}

void FlatParameter::unshard(const at::Tensor& bytes) {
  for (const Entry& entry : entries_) {
    *entry.tensor = bytes.narrow(0, entry.begin, entry.bytes).view(entry.dtype).view(entry.shape);
  }
}

void FlatParameter::reshard() {
  for (const Entry& entry : entries_) entry.tensor->reset();
}

UnshardedPass::UnshardedPass(std::vector<FlatParameter>& blocks, comm::Communicator* group)
    : blocks_(blocks), group_(group) {
  if (blocks_.empty()) return;
  if (group_ == nullptr) {
    throw Error(ErrorKind::internal, "the transformer's blocks are sharded, and there is no group to gather them from");
  }
  const at::Tensor& shard = blocks_[0].shard();
  if (shard.is_cuda()) {
    stream_ = c10::impl::VirtualGuardImpl(at::kCUDA).getStreamFromGlobalPool(shard.device(), /*isHighPriority=*/true);
  }
  // Of the stream that computes: who has their memory next is behind the last block there, and gathers are waited for.
  for (at::Tensor& buffer : buffers_) buffer = at::empty({blocks_[0].bytes()}, shard.options());
}

UnshardedPass::~UnshardedPass() {
  if (entered_) blocks_[*entered_].reshard();
}

void UnshardedPass::enter(std::size_t block) {
  if (blocks_.empty()) return;
  if (entered_) blocks_[*entered_].reshard();
  entered_.reset();
  if (!gathering_.valid()) prefetch();
  gathering_.get();
  blocks_[block].unshard(buffers_[block % buffers_.size()]);
  entered_ = block;
}

void UnshardedPass::prefetch() {
  if (next_ >= blocks_.size()) return;
  // The block that had this buffer before is among what the GPU has been told so far.
  std::optional<c10::Event> told;
  if (stream_) {
    told.emplace(at::kCUDA);
    told->record(c10::impl::VirtualGuardImpl(at::kCUDA).getStream(stream_->device()));
  }
  gathering_ = std::async(std::launch::async, [this, block = next_++, told = std::move(told)] {
    if (told) told->block(*stream_);
    gather(block);
  });
}

void UnshardedPass::gather(std::size_t block) {
  const c10::InferenceMode inference;
  const c10::OptionalStreamGuard on_stream(stream_);
  group_->all_gather_into(buffers_[block % buffers_.size()], blocks_[block].shard());
}

}  // namespace nightreel::model

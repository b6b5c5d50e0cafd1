#include "nightreel/weights/shared_read.h"
#include "nightreel/weights/tensor_bytes.h"

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace nightreel::weights {

namespace {

constexpr std::int64_t kPageBytes = 4096;  // of the pieces' sizes: whole pages, as far as the tensor's start allows

/// Asks for a mapped file's pages in one go: page by page storage would be waited for at every one.
void prefetch(const at::Tensor& bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.const_data_ptr());
  const std::uintptr_t start = begin / page * page;
  // Advice alone: memory that is no mapped file refuses it, and nothing is lost.
  ::madvise(reinterpret_cast<void*>(start), begin + bytes.nbytes() - start, MADV_WILLNEED);
}

}  // namespace

SharedReader::SharedReader(comm::Communicator& group, at::Device device, std::int64_t buffer)
    : group_(group), device_(device), piece_(std::max(kPageBytes, buffer / group.size() / kPageBytes * kPageBytes)) {}

at::Tensor SharedReader::read(const at::Tensor& stored) {
  const auto total = static_cast<std::int64_t>(stored.nbytes());
  if (group_.size() == 1 || !stored.is_contiguous() || total == 0) {
    bytes_read_ += total;
    return stored.to(device_);
  }
  at::Tensor tensor = at::empty(stored.sizes(), stored.options().device(device_));
  const at::Tensor from = as_bytes(stored);
  const at::Tensor to = as_bytes(tensor);
  for (std::int64_t at = 0; at < total;) {
    const std::int64_t share = round_up((total - at + group_.size() - 1) / group_.size(), kPageBytes);
    const std::int64_t piece = std::min(piece_, share);
    const std::int64_t end = std::min(total, at + piece * group_.size());
    const at::Tensor all = group_.all_gather(own_piece(from, at + group_.rank() * piece, piece));
    to.slice(0, at, end).copy_(all.slice(0, 0, end - at));
    at = end;
  }
  return tensor;
}

/// `size` bytes from `from` on, on the device; behind the tensor's end whatever was there.
at::Tensor SharedReader::own_piece(const at::Tensor& bytes, std::int64_t from, std::int64_t size) {
  const std::int64_t count = std::clamp<std::int64_t>(bytes.numel() - from, 0, size);
  at::Tensor piece = at::empty({size}, bytes.options().device(device_));
  if (count == 0) return piece;
  const at::Tensor own = bytes.narrow(0, from, count);
  prefetch(own);
  piece.narrow(0, 0, count).copy_(own);
  bytes_read_ += count;
  return piece;
}

}  // namespace nightreel::weights

// Weights that the ranks of a group read together: each reads its part of every tensor's bytes from storage, and an
// all-gather fills the tensor on all of them. N ranks that load one checkpoint so read it once, not N times.
//
// Refers to the group, which must outlive it. One thread; calls are collective, the same tensors in the same order on
// all ranks, and throw base::Error{comm}.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nightreel/comm/communicator.h"

namespace nightreel::weights {

class SharedReader {
 public:
  /// Tensors come to `device`, which the group's tensors live on. At most `buffer` bytes are on their way at a time,
  /// beside the tensor itself.
  SharedReader(comm::Communicator& group, at::Device device, std::int64_t buffer = std::int64_t{256} << 20U);

  /// `stored` is what a checkpoint's file holds, mapped (tensor_file.h): of its pages only this rank's part is touched.
  /// One whose elements do not lie behind each other is read by every rank, whole.
  at::Tensor read(const at::Tensor& stored);

  /// Bytes that this rank has read from files so far.
  std::int64_t bytes_read() const { return bytes_read_; }

 private:
  at::Tensor own_piece(const at::Tensor& bytes, std::int64_t from, std::int64_t size);

  comm::Communicator& group_;
  at::Device device_;
  std::int64_t piece_;  // largest part that one rank reads at a time
  std::int64_t bytes_read_ = 0;
};

}  // namespace nightreel::weights

// A picture's rows dealt out over a group of ranks, top to bottom: each codes a band of them.
//
// What a layer needs beyond its band are the rows next to it, which the neighbours send, and in the mid block's
// attention all of them. Bands are cut between latent rows, so that they stay whole at every scale. A picture of fewer
// latent rows than ranks is too small to share: every rank codes it whole. Refers to the group, which must outlive it;
// calls are collective and throw base::Error{comm}.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nightreel/comm/communicator.h"

namespace nightreel::model {

class Bands {
 public:
  /// The whole picture is here.
  Bands() = default;
  /// `group` may be null or of one: the whole picture is here.
  Bands(comm::Communicator* group, std::int64_t latent_rows);

  bool shared() const { return group_ != nullptr; }

  /// This rank's band of a whole picture [T, Y, X, C], Y a multiple of the latent rows.
  at::Tensor take(const at::Tensor& x_TYXC) const;
  /// The whole picture of all ranks' bands.
  at::Tensor gather(const at::Tensor& x_TYXC) const;

  /// The row next to this rank's band, [T, 1, X, C]: zeros at the picture's edge. Only where shared().
  at::Tensor row_above(const at::Tensor& x_TYXC) const;
  at::Tensor row_below(const at::Tensor& x_TYXC) const;

 private:
  std::int64_t rows_of(int rank) const { return starts_[static_cast<std::size_t>(rank) + 1] - start_of(rank); }
  std::int64_t start_of(int rank) const { return starts_[static_cast<std::size_t>(rank)]; }

  comm::Communicator* group_ = nullptr;
  std::vector<std::int64_t> starts_;  // first latent row of each rank's band, and the end
};

}  // namespace nightreel::model

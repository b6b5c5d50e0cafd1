// T frames, Y rows, X columns, C channels.
#include "model/vae_bands.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace nightreel::model {

Bands::Bands(comm::Communicator* group, std::int64_t latent_rows) {
  if (group == nullptr || group->size() == 1 || latent_rows < group->size()) return;
  group_ = group;
  for (std::int64_t r = 0; r <= group->size(); ++r) starts_.push_back(latent_rows * r / group->size());
}

at::Tensor Bands::take(const at::Tensor& x_TYXC) const {
  if (!shared()) return x_TYXC;
  const std::int64_t scale = x_TYXC.size(1) / starts_.back();
  return x_TYXC.narrow(1, start_of(group_->rank()) * scale, rows_of(group_->rank()) * scale);
}

at::Tensor Bands::gather(const at::Tensor& x_TYXC) const {
  if (!shared()) return x_TYXC;
  std::int64_t most = 0;
  for (int r = 0; r < group_->size(); ++r) most = std::max(most, rows_of(r));
  const std::int64_t scale = x_TYXC.size(1) / rows_of(group_->rank());
  // Members of a gathering send equally much: shorter bands are filled up.
  const std::int64_t missing = most * scale - x_TYXC.size(1);
  const at::Tensor all_YTXC =
      group_->all_gather(at::constant_pad_nd(x_TYXC.transpose(0, 1), {0, 0, 0, 0, 0, 0, 0, missing}));
  std::vector<at::Tensor> bands_YTXC;
  for (int r = 0; r < group_->size(); ++r) {
    bands_YTXC.push_back(all_YTXC.narrow(0, r * most * scale, rows_of(r) * scale));
  }
  return at::cat(bands_YTXC).transpose(0, 1).contiguous();
}

at::Tensor Bands::row_above(const at::Tensor& x_TYXC) const {
  const at::Tensor row_T1XC = group_->shift(x_TYXC.slice(1, x_TYXC.size(1) - 1), 1);
  return group_->rank() == 0 ? at::zeros_like(row_T1XC) : row_T1XC;
}

at::Tensor Bands::row_below(const at::Tensor& x_TYXC) const {
  const at::Tensor row_T1XC = group_->shift(x_TYXC.slice(1, 0, 1), -1);
  return group_->rank() == group_->size() - 1 ? at::zeros_like(row_T1XC) : row_T1XC;
}

}  // namespace nightreel::model

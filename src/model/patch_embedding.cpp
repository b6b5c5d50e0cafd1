// B batch, C channels, F frames, Y rows, X columns of the latents; S tokens, P elements of a patch.
#include "nightreel/model/patch_embedding.h"

#include <ATen/ATen.h>

#include "model/sizes_text.h"
#include "nightreel/base/error.h"

namespace nightreel::model {

PatchEmbedding::PatchEmbedding(const card::TransformerConfig& config, std::int64_t channels)
    : patch_(config.patch_size), most_(config.rope_max_seq_len), channels_(channels), width_(config.width()) {}

void PatchEmbedding::parameters(const std::string& name, ParameterList& list) {
  list.convolution(projection_, name, {width_, channels_, patch_[0], patch_[1], patch_[2]});
}

PatchGrid PatchEmbedding::grid(const at::Tensor& latents_BCFYX) const {
  const auto refuse = [&](const std::string& why) {
    throw base::Error(base::ErrorKind::job, "transformer: latents of " + sizes_text(latents_BCFYX.sizes()) + " " + why);
  };
  if (latents_BCFYX.dim() != 5) refuse("are not batch, channels, frames, rows, columns");
  if (latents_BCFYX.size(1) != channels_) refuse("where in_channels is " + std::to_string(channels_));
  PatchGrid grid{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t size = latents_BCFYX.size(static_cast<std::int64_t>(axis) + 2);
    if (size == 0 || size % patch_[axis] != 0) refuse("do not divide into patches of " + sizes_text(patch_));
    grid[axis] = size / patch_[axis];
    if (grid[axis] > most_) {
      refuse("have more patches along one axis than rope_max_seq_len, " + std::to_string(most_));
    }
  }
  return grid;
}

at::Tensor PatchEmbedding::forward(const at::Tensor& latents_BCFYX, const Tokens& tokens) const {
  const at::Tensor here_BCFYX = latents_BCFYX.to(projection_.bias.device(), projection_.input_form().dtype);
  return projection_(tokens.group.take(patchify(here_BCFYX), tokens.share, 1));
}

at::Tensor PatchEmbedding::patchify(const at::Tensor& latents_BCFYX) const {
  const auto [f, y, x] = grid(latents_BCFYX);
  const auto [pf, py, px] = patch_;
  return latents_BCFYX.reshape({-1, channels_, f, pf, y, py, x, px})
      .permute({0, 2, 4, 6, 1, 3, 5, 7})
      .reshape({latents_BCFYX.size(0), f * y * x, -1});
}

}  // namespace nightreel::model

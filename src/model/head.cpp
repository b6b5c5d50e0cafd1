// B batch, S tokens, D width, P elements of a patch; F frames, Y rows, X columns.
#include "nightreel/model/head.h"

#include <ATen/ATen.h>

#include "model/modulation.h"

namespace nightreel::model {

Head::Head(const card::TransformerConfig& config)
    : patch_(config.patch_size), channels_(config.out_channels), width_(config.width()), eps_(config.eps) {}

void Head::parameters(ParameterList& list) {
  list.linear(projection_, "proj_out", width_, channels_ * patch_[0] * patch_[1] * patch_[2]);
  list.tensor_f32(table_12D_, "scale_shift_table", {1, 2, width_});
}

at::Tensor Head::forward(const at::Tensor& x_BSD, const TimeEmbeddings& times, const Tokens& tokens,
                         const PatchGrid& grid) const {
  enum Row : std::size_t { kShift, kScale };
  Modulation modulation;
  for (const TimeEmbedding& time : times) {
    modulation.push_back({time.tokens, (table_12D_ + time.embedding_BD.unsqueeze(1)).unbind(1)});
  }
  const at::Tensor out_BSP = projection_(modulated_norm(modulation, x_BSD, {kScale, kShift}, eps_));
  return unpatchify(tokens.group.gather(out_BSP, tokens.share), grid);
}

at::Tensor Head::unpatchify(const at::Tensor& x_BSP, const PatchGrid& grid) const {
  const auto [f, y, x] = grid;
  const auto [pf, py, px] = patch_;
  return x_BSP.reshape({-1, f, y, x, pf, py, px, channels_})
      .permute({0, 7, 1, 4, 2, 5, 3, 6})
      .reshape({x_BSP.size(0), channels_, f * pf, y * py, x * px});
}

}  // namespace nightreel::model

// B prompts, T rows of a prompt, E width of the text encoder, D width of the transformer.
#include "nightreel/model/text_embedder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "nightreel/base/error.h"

namespace nightreel::model {

namespace {

/// Rows of the text that all prompts pad with, at least 2: the index of the first. None where the last rows differ.
std::optional<std::int64_t> first_padding_row(const at::Tensor& text_BTE) {
  const std::int64_t rows = text_BTE.size(1);
  const at::Tensor last_B1E = text_BTE.slice(1, rows - 1);
  const at::Tensor differs_T = (text_BTE != last_B1E).any(-1).any(0).nonzero().cpu();
  const std::int64_t first = differs_T.numel() == 0 ? 0 : differs_T[-1].item<std::int64_t>() + 1;
  if (rows - first < 2) return std::nullopt;
  return first;
}

/// Of rows whose last one stands for `folded` equal ones.
at::Tensor bias_of(std::int64_t rows, std::int64_t folded, at::Device device) {
  at::Tensor bias_T = at::zeros({rows}, at::kFloat);
  bias_T[-1].fill_(std::log(static_cast<double>(folded)));
  return bias_T.to(device);
}

}  // namespace

void TextEmbedder::parameters(const std::string& name, ParameterList& list) {
  list.linear(in_, name + "linear_1", text_dim_, width_);
  list.linear(out_, name + "linear_2", width_, width_);
}

Context TextEmbedder::forward(const at::Tensor& text_BTE) const {
  if (text_BTE.size(2) != text_dim_) {
    throw base::Error(base::ErrorKind::model, "transformer: text_dim is " + std::to_string(text_dim_) +
                                                  ", but the text encoder's width is " +
                                                  std::to_string(text_BTE.size(2)));
  }
  at::Tensor rows_BTE = text_BTE.to(in_.bias.device(), in_.input_form().dtype);
  at::Tensor bias_T;
  // Not in bfloat16, whose 8 bits would blur the weight of the folded rows.
  const auto first = rows_BTE.scalar_type() == at::kFloat ? first_padding_row(rows_BTE) : std::nullopt;
  if (first) {
    bias_T = bias_of(*first + 1, rows_BTE.size(1) - *first, rows_BTE.device());
    rows_BTE = rows_BTE.slice(1, 0, *first + 1);
  }
  return {out_(at::gelu(in_(rows_BTE), "tanh")), bias_T};
}

}  // namespace nightreel::model

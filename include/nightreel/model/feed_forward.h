// The layers of a block that look at each token for itself: two matrices and GELU (its tanh form) between them.
//
// Owns its matrices, not the norm before them: input comes ready, in the form that input_form() names. Plain values;
// const calls from any thread. diffusers 0.42.1, FeedForward with gelu-approximate (models/attention.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "nightreel/card/configs.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"

namespace nightreel::model {

class FeedForward {
 public:
  explicit FeedForward(const card::TransformerConfig& config) : width_(config.width()), inner_(config.ffn_dim) {}

  /// Adds its tensors; `name` stands before theirs: "blocks.0.ffn.".
  void parameters(const std::string& name, ParameterList& list);
  InputForm input_form() const { return in_.input_form(); }
  /// x is spent.
  at::Tensor forward(ReadyInput x_BSD) const;

 private:
  std::int64_t width_;
  std::int64_t inner_;
  Linear in_, out_;
};

}  // namespace nightreel::model

// From a time step to what steers the blocks: an embedding of it, and the part of their modulation that is the same for
// all of them.
//
// Owns its weights, which stay in float32 but for the last layer. Plain values; const calls from any thread. Formulas:
// diffusers 0.42.1, WanTimeTextImageEmbedding (models/transformers/transformer_wan.py), Timesteps
// (models/embeddings.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/linear.h"
#include "nightreel/model/parameter.h"

namespace nightreel::model {

/// The time step of `tokens` tokens that follow each other.
struct TimeEmbedding {
  std::int64_t tokens = 0;
  at::Tensor embedding_BD;    // float32
  at::Tensor modulation_B6D;  // float32, before each block's own table
};
/// Of all tokens of a call, in their order: one, or two where the first frame has a time step of its own.
using TimeEmbeddings = std::vector<TimeEmbedding>;

class TimeEmbedder {
 public:
  TimeEmbedder(const card::TransformerConfig& config, at::Device device);

  /// Adds its tensors; `name` stands before theirs: "condition_embedder.".
  void parameters(const std::string& name, ParameterList& list);
  /// timestep_B: 0 to 1000, whole or not, of any dtype and device.
  TimeEmbedding forward(const at::Tensor& timestep_B, std::int64_t tokens) const;

 private:
  std::int64_t frequencies_;
  std::int64_t width_;
  at::Tensor angle_of_step_;  // radians a time step, of each frequency
  Linear in_, out_, modulation_;
};

}  // namespace nightreel::model

// The UMT5 text encoder: from a prompt's tokens to the vectors that the transformer attends to.
//
// Owns its weights, on one device in one dtype, but for the token embedding: that stays on the CPU as stored (it is a
// quarter of the model, and a prompt needs a few hundred rows of it). Const calls; any thread. Settings and weights
// that this program does not have throw base::Error{model} that names the file. The arithmetic is that of transformers
// 5.23, UMT5EncoderModel (models/umt5/modeling_umt5.py).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/card/configs.h"
#include "nightreel/model/parameter.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

class Umt5Encoder {
 public:
  /// Loads text_encoder/ of a checkpoint, FOLDER/text_encoder. `reader`: see WeightMap::open.
  static Umt5Encoder load(const std::string& folder, at::Device device, at::ScalarType dtype,
                          weights::TensorReader* reader = nullptr);
  /// The same where the configuration has been read, and the tensors are known.
  static Umt5Encoder load(const card::Umt5Config& config, weights::WeightMap weights, at::Device device,
                          at::ScalarType dtype);
  /// Without its numbers: it says which tensors it is made of, and computes when load_parameters() has put them in
  /// their places.
  Umt5Encoder(const card::Umt5Config& config, at::Device device, at::ScalarType dtype);

  const card::Umt5Config& config() const { return config_; }

  /// Every weight, with its Diffusers names.
  std::vector<Parameter> parameters();
  /// Shows every weight but the token embedding; see WeightVisitor.
  void each_weight(const WeightVisitor& visit);

  /// The last hidden state [1, S, d_model] of S tokens, S >= 1, without padding: padded keys get no attention, so the
  /// rows are those of a run padded to any length. A token outside the vocabulary throws Error{model}.
  at::Tensor encode(const std::vector<std::int64_t>& tokens) const;

 private:
  struct Layer {
    at::Tensor attention_norm_D, q, k, v, o, bias_buckets;  // [buckets, heads]
    at::Tensor ffn_norm_D, ffn_gate, ffn_in, ffn_out;
  };
  void add_layer(std::size_t index, ParameterList& list);
  at::Tensor self_attention(const Layer& layer, const at::Tensor& x_1SD, const at::Tensor& buckets_R) const;
  at::Tensor feed_forward(const Layer& layer, const at::Tensor& x_1SD) const;

  card::Umt5Config config_;
  at::Device device_;
  at::ScalarType dtype_;
  at::Tensor embedding_VD_;  // on the CPU, as stored
  std::vector<Layer> layers_;
  at::Tensor final_norm_D_;
};

/// The bucket of each relative position -(length-1) … length-1 of a key to its query, [2 * length - 1] int64: half of
/// the buckets for each sign, exact up to half of those, logarithmic up to max_distance.
at::Tensor relative_position_buckets(std::int64_t length, std::int64_t num_buckets, std::int64_t max_distance);

}  // namespace nightreel::model

// N pictures, T vectors, E width of the image encoder, D width of the transformer.
#include "nightreel/model/image_embedder.h"

#include <ATen/ATen.h>

#include "model/sizes_text.h"
#include "nightreel/base/error.h"
#include "nightreel/ops/norm.h"

namespace nightreel::model {

namespace {

constexpr double kImageNormEps = 1e-5;  // FP32LayerNorm's default

}  // namespace

void ImageEmbedder::parameters(const std::string& name, ParameterList& list) {
  if (image_dim_ == 0) return;
  list.tensor_f32(norm_in_weight_E_, name + "norm1.weight", {image_dim_});
  list.tensor_f32(norm_in_bias_E_, name + "norm1.bias", {image_dim_});
  list.linear(in_, name + "ff.net.0.proj", image_dim_, image_dim_);
  list.linear(out_, name + "ff.net.2", image_dim_, width_);
  list.tensor_f32(norm_out_weight_D_, name + "norm2.weight", {width_});
  list.tensor_f32(norm_out_bias_D_, name + "norm2.bias", {width_});
  if (positions_ > 0) list.tensor(positions_1TE_, name + "pos_embed", {1, positions_, image_dim_});
}

Context ImageEmbedder::forward(const at::Tensor& image_NTE) const {
  if (image_NTE.dim() != 3 || image_NTE.size(2) != image_dim_) {
    throw base::Error(base::ErrorKind::model, "transformer: image_dim is " + std::to_string(image_dim_) +
                                                  ", but the image encoder gives " + sizes_text(image_NTE.sizes()));
  }
  at::Tensor x_1TE = image_NTE.to(in_.bias.device(), in_.input_form().dtype);
  if (positions_ > 0) x_1TE = placed(x_1TE);
  x_1TE = ops::layer_norm(x_1TE, norm_in_weight_E_, norm_in_bias_E_, kImageNormEps);
  return {ops::layer_norm(out_(at::gelu(in_(x_1TE))), norm_out_weight_D_, norm_out_bias_D_, kImageNormEps)};
}

/// All pictures' vectors behind each other, each with its position.
at::Tensor ImageEmbedder::placed(const at::Tensor& image_NTE) const {
  const at::Tensor x_1TE = image_NTE.reshape({1, -1, image_dim_});
  if (x_1TE.size(1) != positions_) {
    throw base::Error(base::ErrorKind::model, "transformer: pos_embed_seq_len is " + std::to_string(positions_) +
                                                  ", but the pictures have " + std::to_string(x_1TE.size(1)) +
                                                  " vectors");
  }
  return x_1TE + positions_1TE_;
}

}  // namespace nightreel::model

// 3-D convolutions by oneDNN with weights in its own blocked format, brought there once instead of at every call.
//
// Plain functions over LibTorch's mkldnn_reorder_conv3d_weight and its operator mkldnn::_convolution_pointwise, which
// its compiler calls for the same purpose and which has no C++ header (aten/src/ATen/native/mkldnn/ConvPrepack.cpp,
// Conv.cpp). float32 on the CPU. Bit for bit the numbers of at::mkldnn_convolution.
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::model {

/// Padding and stride of the three axes.
struct ConvSteps {
  at::IntArrayRef padding;
  at::IntArrayRef stride;
};

/// `weight` [out, in, kT, kY, kX] in the format that suits inputs of `input_shape` [1, in, T, Y, X]; others are right
/// too, at the cost of a reordering a call.
at::Tensor pack_onednn_weight(const at::Tensor& weight, const ConvSteps& steps, at::IntArrayRef input_shape);

/// x [1, in, T, Y, X], channels last in memory, as the answer is.
at::Tensor onednn_convolution(const at::Tensor& x_1CTYX, const at::Tensor& packed_weight, const at::Tensor& bias,
                              const ConvSteps& steps);

}  // namespace nightreel::model

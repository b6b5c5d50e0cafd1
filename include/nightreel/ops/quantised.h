// Weights in fp8 (e4m3) with a scale for each output channel, and the linear layer over them.
//
// A weight w of row r is stored as q = round(w / s_r) in float8_e4m3fn, s_r = max |row| / 448, and read back as q *
// s_r. e4m3 has 3 bits of mantissa: an element is off by at most 1/16 of itself (half a step of 1/8), or by 2^-10 s_r
// near zero. Plain functions; any thread. Shapes that do not fit are LibTorch's errors. Source: P. Micikevicius et al.,
// FP8 Formats for Deep Learning, 2022, section 3.
#pragma once

#include <ATen/core/Tensor.h>

namespace nightreel::ops {

constexpr double kMaxE4m3 = 448.0;  // the largest finite e4m3 number

/// O rows (output channels), I columns.
struct Quantised {
  at::Tensor values_OI;  // float8_e4m3fn
  at::Tensor scale_O1;   // float32
};

/// `weight_OI` in any floating dtype. A row of zeros has the scale 1. Numbers that are not finite stay what they are,
/// as NaN.
Quantised quantise(const at::Tensor& weight_OI);

/// In float32.
at::Tensor dequantise(const Quantised& weight);

/// x [..., I] times the weight transposed, plus `bias_O` (may be undefined), in x's dtype. On a GPU that has fp8 matrix
/// products (compute capability 8.9 and above) x is quantised row by row and at::_scaled_mm does the work; elsewhere
/// the weight is brought to x's dtype first.
at::Tensor quantised_linear(const at::Tensor& x, const Quantised& weight, const at::Tensor& bias_O);

/// `x` [..., I] rounded row by row, each with its scale: values of x's shape, a scale a row [rows, 1]. As quantise(),
/// but a piece at a time: activations are large.
Quantised quantise_rows(const at::Tensor& x);

/// quantised_linear() of the x that `rows` was made of by quantise_rows(), the same bits, where has_fp8_products().
at::Tensor quantised_linear(const Quantised& rows, const Quantised& weight, const at::Tensor& bias_O);

/// True where quantised_linear multiplies in fp8: of x its dtype and its device count.
bool has_fp8_products(const at::Tensor& x, const Quantised& weight);
/// Whether the device can: a GPU of compute capability 8.9 and above.
bool has_fp8_products(at::Device device);

}  // namespace nightreel::ops

// O output channels, I input channels, S rows of x.
#include "nightreel/ops/quantised.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nightreel/memory/sizes.h"

#ifdef NIGHTREEL_CUDA
#include <ATen/cuda/CUDAContextLight.h>
#endif

namespace nightreel::ops {

namespace {

/// at::_scaled_mm wants both inner sizes to be multiples of 16.
constexpr std::int64_t kTile = 16;

at::Tensor scale_of_rows(const at::Tensor& x_SI) {
  const at::Tensor peak_S1 = x_SI.abs().amax(1, /*keepdim=*/true).to(at::kFloat);
  // A row whose scale would not be a normal number counts as zeros: dividing by it would overflow.
  return at::where(peak_S1 > 1e-30, peak_S1 / kMaxE4m3, at::ones_like(peak_S1));
}

at::Tensor to_e4m3(const at::Tensor& x_SI, const at::Tensor& scale_S1) {
  // Clamped because the division may round past the largest number, which the conversion would make NaN.
  return (x_SI.to(at::kFloat) / scale_S1).clamp_(-kMaxE4m3, kMaxE4m3).to(at::kFloat8_e4m3fn);
}

/// Of rows that are quantised. bfloat16, as fp8 products are for it alone.
at::Tensor fp8_product(const Quantised& x, const Quantised& weight, const at::Tensor& bias_O) {
  return at::_scaled_mm(x.values_OI, weight.values_OI.t(), x.scale_O1, weight.scale_O1.t(),
                        /*bias=*/bias_O.defined() ? std::optional<at::Tensor>(bias_O) : std::nullopt,
                        /*scale_result=*/std::nullopt, at::kBFloat16);
}

/// `work`(first row, rows) for each piece of `x_SI`.
template <class Work>
void for_each_piece(const at::Tensor& x_SI, const Work& work) {
  const std::int64_t step = std::max<std::int64_t>(memory::kQuantisedPiece / x_SI.size(1), 1);
  for (std::int64_t from = 0; from < x_SI.size(0); from += step) work(from, std::min(step, x_SI.size(0) - from));
}

/// `product`(first row, rows) of all pieces of `x`, one below the other and shaped as x.
template <class Product>
at::Tensor in_pieces(const at::Tensor& x, const Quantised& weight, const Product& product) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape.back() = weight.values_OI.size(0);
  const at::Tensor x_SI = x.flatten(0, -2);
  const at::Tensor y_SO = at::empty({x_SI.size(0), shape.back()}, x.options().dtype(at::kBFloat16));
  for_each_piece(x_SI,
                 [&](std::int64_t from, std::int64_t rows) { y_SO.narrow(0, from, rows).copy_(product(from, rows)); });
  return y_SO.view(shape);
}

}  // namespace

Quantised quantise(const at::Tensor& weight_OI) {
  const at::Tensor scale_O1 = scale_of_rows(weight_OI);
  return {to_e4m3(weight_OI, scale_O1), scale_O1};
}

at::Tensor dequantise(const Quantised& weight) {
  return weight.values_OI.to(at::kFloat).mul_(weight.scale_O1);
}

bool has_fp8_products(at::Device device) {
#ifdef NIGHTREEL_CUDA
  if (!device.is_cuda()) return false;
  const auto* properties = at::cuda::getDeviceProperties(device.index());
  return properties->major * 10 + properties->minor >= 89;
#else
  static_cast<void>(device);
  return false;
#endif
}

bool has_fp8_products(const at::Tensor& x, const Quantised& weight) {
  const bool tiles = weight.values_OI.size(0) % kTile == 0 && weight.values_OI.size(1) % kTile == 0;
  return x.scalar_type() == at::kBFloat16 && tiles && has_fp8_products(x.device());
}

at::Tensor quantised_linear(const at::Tensor& x, const Quantised& weight, const at::Tensor& bias_O) {
  if (!has_fp8_products(x, weight)) return at::linear(x, dequantise(weight).to(x.scalar_type()), bias_O);
  const at::Tensor x_SI = x.flatten(0, -2);
  return in_pieces(x, weight, [&](std::int64_t from, std::int64_t rows) {
    return fp8_product(quantise(x_SI.narrow(0, from, rows)), weight, bias_O);
  });
}

Quantised quantise_rows(const at::Tensor& x) {
  const at::Tensor x_SI = x.flatten(0, -2);
  const at::Tensor values_SI = at::empty(x_SI.sizes(), x.options().dtype(at::kFloat8_e4m3fn));
  const at::Tensor scale_S1 = at::empty({x_SI.size(0), 1}, x.options().dtype(at::kFloat));
  for_each_piece(x_SI, [&](std::int64_t from, std::int64_t rows) {
    const Quantised piece = quantise(x_SI.narrow(0, from, rows));
    values_SI.narrow(0, from, rows).copy_(piece.values_OI);
    scale_S1.narrow(0, from, rows).copy_(piece.scale_O1);
  });
  return {values_SI.view(x.sizes()), scale_S1};
}

at::Tensor quantised_linear(const Quantised& rows, const Quantised& weight, const at::Tensor& bias_O) {
  const at::Tensor x_SI = rows.values_OI.flatten(0, -2);
  return in_pieces(rows.values_OI, weight, [&](std::int64_t from, std::int64_t count) {
    const Quantised piece{x_SI.narrow(0, from, count), rows.scale_O1.narrow(0, from, count)};
    return fp8_product(piece, weight, bias_O);
  });
}

}  // namespace nightreel::ops

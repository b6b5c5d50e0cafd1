// Operators whose CUDA code is a library's and whose CPU kernel is missing or means something else: attention,
// convolution, products in fp8, a product with GELU, the fused norm. What the real ones demand is demanded here.
//
// B batch, H heads, S queries, T keys, D size of a head.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "stand_in/computing.h"
#include "stand_in/operators.h"

namespace nightreel::stand_in {
namespace {

using at::Tensor;
using std::optional;

constexpr std::size_t kAligned = 16;  // bytes, of what cuDNN and flash attention read

bool is_narrow(const Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16;
}

bool is_aligned(const Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.data_ptr()) % kAligned == 0;
}

Tensor wide(const Tensor& tensor) {
  return on_host(tensor).to(at::kFloat);
}

// Attention ---------------------------------------------------------------------------------------------------------

void check_attention(const std::string& name, const Tensor& q_BHSD, const Tensor& k_BHTD, const Tensor& v_BHTD,
                     const optional<Tensor>& bias) {
  refuse_two_devices(name, {q_BHSD, k_BHTD, v_BHTD, bias.value_or(Tensor())});
  for (const Tensor& tensor : {q_BHSD, k_BHTD, v_BHTD}) {
    TORCH_CHECK(tensor.dim() == 4 && tensor.stride(3) == 1, name, ": the last dimension of ", tensor.sizes(),
                " must be dense");
    TORCH_CHECK(tensor.scalar_type() == q_BHSD.scalar_type(), name, ": tensors of two types");
    TORCH_CHECK(is_aligned(tensor), name, ": an address that is no multiple of 16");
  }
  TORCH_CHECK(!bias || !bias->defined() || bias->scalar_type() == q_BHSD.scalar_type(), name,
              ": the bias has another type than the query");  // cuDNN would misread it and say nothing
}

struct Attended {
  Tensor out_BHSD;    // float32, on the CPU
  Tensor weight_BHS;  // logarithm of the sum of weights
};

Attended attend(const Tensor& q_BHSD, const Tensor& k_BHTD, const Tensor& v_BHTD, const optional<Tensor>& bias,
                optional<double> scale) {
  const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(q_BHSD.size(3))));
  Tensor scores_BHST = at::matmul(wide(q_BHSD) * factor, wide(k_BHTD).transpose(2, 3));
  if (bias && bias->defined()) scores_BHST = scores_BHST + wide(*bias);
  return {at::matmul(scores_BHST.softmax(3), wide(v_BHTD)), scores_BHST.logsumexp(3)};
}

/// Sizes [B, H, S, D] in memory as [B, S, H, D], as both flash kernels give them.
Tensor heads_inside(const Tensor& out_BHSD, const Tensor& like) {
  const auto s = out_BHSD.sizes();
  Tensor out = at::empty({s[0], s[2], s[1], s[3]}, like.options()).transpose(1, 2);
  on_host(out).copy_(out_BHSD);
  return out;
}

/// Dense, its dimensions in the order of the query's strides: cuDNN's choice.
Tensor laid_out_as(const Tensor& out_BHSD, const Tensor& like) {
  std::vector<std::int64_t> order(4);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return like.stride(a) > like.stride(b); });
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> back(4);
  for (std::size_t i = 0; i < order.size(); ++i) {
    sizes.push_back(out_BHSD.size(order[i]));
    back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  }
  Tensor out = at::empty(sizes, like.options()).permute(back);
  on_host(out).copy_(out_BHSD);
  return out;
}

using NineResults = std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;

Tensor a_number() {
  return at::empty({}, at::kLong);
}

NineResults cudnn_attention(const Tensor& q, const Tensor& k, const Tensor& v, const optional<Tensor>& bias,
                            bool with_weight, double dropout, bool is_causal, bool, optional<double> scale) {
  constexpr std::int64_t kLargestHead = 128;
  check_attention("cuDNN's attention", q, k, v, bias);
  TORCH_CHECK(is_narrow(q) && q.size(3) % 8 == 0 && q.size(3) <= kLargestHead && !is_causal && dropout == 0,
              "cuDNN's attention: not for ", q.scalar_type(), " ", q.sizes());
  const Attended attended = attend(q, k, v, bias, scale);
  const Tensor weight = with_weight ? on_gpu(attended.weight_BHS.unsqueeze(3)) : Tensor();
  return {laid_out_as(attended.out_BHSD, q), weight, {}, {}, q.size(2), k.size(2), a_number(), a_number(), {}};
}

NineResults flash_attention(const Tensor& q, const Tensor& k, const Tensor& v, double dropout, bool is_causal, bool,
                            optional<double> scale) {
  constexpr std::int64_t kLargestHead = 256;
  check_attention("flash attention", q, k, v, std::nullopt);
  TORCH_CHECK(is_narrow(q) && q.size(3) % 8 == 0 && q.size(3) <= kLargestHead && !is_causal && dropout == 0,
              "flash attention: not for ", q.scalar_type(), " ", q.sizes());
  const Attended attended = attend(q, k, v, std::nullopt, scale);
  return {heads_inside(attended.out_BHSD, q),
          on_gpu(attended.weight_BHS),
          {},
          {},
          q.size(2),
          k.size(2),
          at::empty({2}, at::kLong),
          a_number(),
          {}};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                                               const optional<Tensor>& bias, bool with_weight,
                                                               double dropout, bool is_causal, optional<double> scale) {
  check_attention("efficient attention", q, k, v, bias);
  TORCH_CHECK(!is_causal && dropout == 0, "efficient attention: a mask or dropout is not computed here");
  const Attended attended = attend(q, k, v, bias, scale);
  // Rows are padded to a multiple of 32: a caller must cut them.
  constexpr std::int64_t kRows = 32;
  const std::int64_t rows = with_weight ? (q.size(2) + kRows - 1) / kRows * kRows : 0;
  const Tensor weight = at::empty({q.size(0), q.size(1), rows}, q.options().dtype(at::kFloat));
  if (with_weight) on_host(weight).slice(2, 0, q.size(2)).copy_(attended.weight_BHS);
  return {heads_inside(attended.out_BHSD, q), weight, a_number(), a_number()};
}

// Convolution -------------------------------------------------------------------------------------------------------

bool wants_channels_last(const Tensor& tensor) {
  const auto format = tensor.suggest_memory_format();
  return format == at::MemoryFormat::ChannelsLast || format == at::MemoryFormat::ChannelsLast3d;
}

Tensor convolution(const Tensor& x, const Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                   at::IntArrayRef dilation, std::int64_t groups, bool, bool, bool) {
  refuse_two_devices("cudnn_convolution", {x, weight});
  TORCH_CHECK(x.scalar_type() == weight.scalar_type(), "cudnn_convolution: input and weight of two types");
  const std::vector<std::int64_t> none(padding.size(), 0);
  const Tensor computed =
      at::convolution(on_host(x), on_host(weight), {}, stride, padding, dilation, false, none, groups);
  const auto last = x.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  const bool channels_last = wants_channels_last(x) || wants_channels_last(weight);
  Tensor out = at::empty(computed.sizes(), x.options(), channels_last ? last : at::MemoryFormat::Contiguous);
  on_host(out).copy_(computed);
  return out;
}

// Products ----------------------------------------------------------------------------------------------------------

void check_fp8(const Tensor& a_MK, const Tensor& b_KN, const Tensor& scale_a, const Tensor& scale_b,
               const optional<Tensor>& bias) {
  refuse_two_devices("_scaled_mm", {a_MK, b_KN, scale_a, scale_b, bias.value_or(Tensor())});
  TORCH_CHECK(a_MK.scalar_type() == at::kFloat8_e4m3fn && b_KN.scalar_type() == at::kFloat8_e4m3fn,
              "_scaled_mm: not fp8");
  TORCH_CHECK(a_MK.is_contiguous() && b_KN.t().is_contiguous(), "_scaled_mm: row major times column major");
  TORCH_CHECK(a_MK.size(1) % 16 == 0 && b_KN.size(1) % 16 == 0, "_scaled_mm: sizes must be multiples of 16");
  for (const Tensor& scale : {scale_a, scale_b}) {
    TORCH_CHECK(scale.scalar_type() == at::kFloat && scale.is_contiguous(), "_scaled_mm: scales are dense float32");
  }
  const bool one_each = scale_a.numel() == 1 && scale_b.numel() == 1;
  TORCH_CHECK(one_each || (scale_a.sizes() == at::IntArrayRef{a_MK.size(0), 1} &&
                           scale_b.sizes() == at::IntArrayRef{1, b_KN.size(1)}),
              "_scaled_mm: one scale each, or one a row and one a column");
  TORCH_CHECK(!bias || (bias->is_contiguous() && bias->numel() == b_KN.size(1) && is_narrow(*bias)),
              "_scaled_mm: a bias of bfloat16 for each column");
}

Tensor scaled_product(const Tensor& a_MK, const Tensor& b_KN, const Tensor& scale_a, const Tensor& scale_b,
                      const optional<Tensor>& bias, const optional<Tensor>&, optional<at::ScalarType> dtype, bool) {
  check_fp8(a_MK, b_KN, scale_a, scale_b, bias);
  Tensor product = at::matmul(wide(a_MK) * on_host(scale_a), wide(b_KN) * on_host(scale_b));
  if (bias) product = product + wide(*bias);
  return on_gpu(product.to(dtype.value_or(a_MK.scalar_type())));
}

// On CUDA its GELU is tanh's, on the CPU erf's.
Tensor product_with_activation(const Tensor& bias, const Tensor& a, const Tensor& b, const at::Scalar& beta,
                               const at::Scalar& alpha, bool use_gelu) {
  refuse_two_devices("_addmm_activation", {bias, a, b});
  const Tensor sum = at::addmm(wide(bias), wide(a), wide(b), beta, alpha);
  return on_gpu((use_gelu ? at::gelu(sum, "tanh") : at::relu(sum)).to(a.scalar_type()));
}

// Norm --------------------------------------------------------------------------------------------------------------

void fused_rms_norm(const torch::jit::Stack& given, at::ArrayRef<c10::IValue> outputs) {
  const Tensor x = wide(given.at(0).toTensor());
  const auto dims = given.at(1).toIntVector();
  std::vector<std::int64_t> normed(dims.size());
  std::iota(normed.begin(), normed.end(), -static_cast<std::int64_t>(dims.size()));
  const double eps = given.at(3).isNone() ? std::numeric_limits<float>::epsilon() : given.at(3).toDouble();
  const Tensor scale = at::rsqrt(at::mean(x * x, normed, /*keepdim=*/true) + eps);
  Tensor y = x * scale;
  if (given.at(2).isTensor() && given.at(2).toTensor().defined()) y = y * wide(given.at(2).toTensor());
  on_host(outputs[0].toTensor()).copy_(y);
  on_host(outputs[1].toTensor()).copy_(scale);
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("_scaled_dot_product_cudnn_attention", cudnn_attention);
  m.impl("_scaled_dot_product_flash_attention", flash_attention);
  m.impl("_scaled_dot_product_efficient_attention", efficient_attention);
  m.impl("cudnn_convolution", convolution);
  m.impl("_scaled_mm", scaled_product);
  m.impl("_addmm_activation", product_with_activation);
}

}  // namespace

bool fill_by_hand(const std::string& name, const torch::jit::Stack& given, at::ArrayRef<c10::IValue> outputs) {
  if (name != "aten::_fused_rms_norm") return false;
  fused_rms_norm(given, outputs);
  return true;
}

}  // namespace nightreel::stand_in

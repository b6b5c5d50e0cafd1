// LibTorch's operators on the counting stand-in: its own host code, but for what libraries compute, of which only the
// result is allocated, and the workspace that it takes.
//
//   STAND_IN_CUBLAS_WORKSPACE   bytes that the first product takes and keeps; 33554432, LibTorch's choice on Hopper
//   STAND_IN_CUDNN_WORKSPACE    bytes of each convolution while it runs; 134217728
//
// B batch, H heads, S queries, T keys, D size of a head.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <set>

#include "stand_in/counting.h"

namespace nightreel::stand_in {
namespace {

using at::Tensor;
using std::optional;
using torch::jit::Stack;

Tensor memory(std::uint64_t bytes, const Tensor& like) {
  return at::empty({static_cast<std::int64_t>(bytes)}, like.options().dtype(at::kByte));
}

// Products ----------------------------------------------------------------------------------------------------------

void count_product(const char* name, const Tensor& like) {
  static const auto* kept = new Tensor(memory(number("STAND_IN_CUBLAS_WORKSPACE", 33554432), like));
  static_cast<void>(kept);
  count_kernel(std::string("product ") + name + " " + c10::toString(like.scalar_type()));
}

Tensor mm(const Tensor& a, const Tensor& b) {
  count_product("mm", a);
  return at::empty({a.size(0), b.size(1)}, a.options());
}

Tensor addmm(const Tensor&, const Tensor& a, const Tensor& b, const at::Scalar&, const at::Scalar&) {
  count_product("addmm", a);
  return at::empty({a.size(0), b.size(1)}, a.options());
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  count_product("bmm", a);
  return at::empty({a.size(0), a.size(1), b.size(2)}, a.options());
}

Tensor product_with_activation(const Tensor&, const Tensor& a, const Tensor& b, const at::Scalar&, const at::Scalar&,
                               bool) {
  count_product("addmm with activation", a);
  return at::empty({a.size(0), b.size(1)}, a.options());
}

Tensor scaled_product(const Tensor& a, const Tensor& b, const Tensor&, const Tensor&, const optional<Tensor>&,
                      const optional<Tensor>&, optional<at::ScalarType> dtype, bool fast) {
  count_product(fast ? "scaled, fast sums" : "scaled", a);
  return at::empty({a.size(0), b.size(1)}, a.options().dtype(dtype.value_or(a.scalar_type())));
}

// Attention ---------------------------------------------------------------------------------------------------------

void count_attention(const char* name, const Tensor& q_BHSD, const Tensor& k_BHTD, bool bias) {
  constexpr std::int64_t kLong = 4096;
  count_kernel(std::string("attention ") + name + " " + c10::toString(q_BHSD.scalar_type()) + " head " +
               std::to_string(q_BHSD.size(3)) + (k_BHTD.size(2) > kLong ? " long" : " short") + (bias ? " bias" : ""));
}

using NineResults = std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;

Tensor a_number() {
  return at::empty({}, at::kLong);
}

Tensor weights_BHS(const Tensor& q_BHSD) {
  return at::empty({q_BHSD.size(0), q_BHSD.size(1), q_BHSD.size(2)}, q_BHSD.options().dtype(at::kFloat));
}

Tensor heads_inside(const Tensor& q_BHSD) {
  return at::empty({q_BHSD.size(0), q_BHSD.size(2), q_BHSD.size(1), q_BHSD.size(3)}, q_BHSD.options()).transpose(1, 2);
}

NineResults cudnn_attention(const Tensor& q, const Tensor& k, const Tensor&, const optional<Tensor>& bias,
                            bool with_weight, double, bool, bool, optional<double>) {
  count_attention("cudnn", q, k, bias && bias->defined());
  const Tensor weight = with_weight ? weights_BHS(q).unsqueeze(3) : Tensor();
  return {heads_inside(q), weight, {}, {}, q.size(2), k.size(2), a_number(), a_number(), {}};
}

NineResults flash_attention(const Tensor& q, const Tensor& k, const Tensor&, double, bool, bool, optional<double>) {
  count_attention("flash", q, k, false);
  return {heads_inside(q), weights_BHS(q), {}, {}, q.size(2), k.size(2), at::empty({2}, at::kLong), a_number(), {}};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> efficient_attention(const Tensor& q, const Tensor& k, const Tensor&,
                                                               const optional<Tensor>& bias, bool with_weight, double,
                                                               bool, optional<double>) {
  count_attention("efficient", q, k, bias && bias->defined());
  return {heads_inside(q), with_weight ? weights_BHS(q) : Tensor(), a_number(), a_number()};
}

// Convolution -------------------------------------------------------------------------------------------------------

bool wants_channels_last(const Tensor& tensor) {
  const auto format = tensor.suggest_memory_format();
  return format == at::MemoryFormat::ChannelsLast || format == at::MemoryFormat::ChannelsLast3d;
}

Tensor convolution(const Tensor& x, const Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                   at::IntArrayRef dilation, std::int64_t, bool, bool, bool tf32) {
  std::vector<std::int64_t> sizes{x.size(0), weight.size(0)};
  for (std::size_t i = 0; i < padding.size(); ++i) {
    const auto axis = static_cast<std::int64_t>(i) + 2;
    const std::int64_t reach = dilation[i] * (weight.size(axis) - 1);
    sizes.push_back((x.size(axis) + 2 * padding[i] - reach - 1) / stride[i] + 1);
  }
  const bool last = wants_channels_last(x) || wants_channels_last(weight);
  const bool copied = last && !(wants_channels_last(x) || x.is_contiguous(at::MemoryFormat::ChannelsLast3d));
  count_kernel(std::string("convolution ") + c10::toString(x.scalar_type()) + (tf32 ? " tf32" : "") +
               (last ? " channels last" : " channels first") + (copied ? " copied" : ""));
  const Tensor workspace = memory(number("STAND_IN_CUDNN_WORKSPACE", 134217728), x);
  const auto format = x.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  return at::empty(sizes, x.options(), last ? format : at::MemoryFormat::Contiguous);
}

// Facts -------------------------------------------------------------------------------------------------------------

// The least of a few numbers that ranks told each other, which a plan rests on; the rest of arithmetic gives nothing.
Tensor least(const Tensor& numbers) {
  count_kernel("min");
  const bool facts = numbers.scalar_type() == at::kLong && numbers.numel() > 0;
  return facts ? numbers.cpu().min().to(numbers.device()) : at::empty({}, numbers.options());
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("min", least);
  m.impl("mm", mm);
  m.impl("addmm", addmm);
  m.impl("bmm", bmm);
  m.impl("_addmm_activation", product_with_activation);
  m.impl("_scaled_mm", scaled_product);
  m.impl("_scaled_dot_product_cudnn_attention", cudnn_attention);
  m.impl("_scaled_dot_product_flash_attention", flash_attention);
  m.impl("_scaled_dot_product_efficient_attention", efficient_attention);
  m.impl("cudnn_convolution", convolution);
}

// Bytes -------------------------------------------------------------------------------------------------------------

// The distinct tensors of an operator that launches a kernel: each is gone over once at least.
class CountedOperator final : public c10::OperatorKernel {
 public:
  explicit CountedOperator(c10::SafeKernelFunction kernel) : kernel_(std::move(kernel)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) const {
    thread_local int depth = 0;
    if (depth > 0) return kernel_.callBoxed(op, keys, stack);
    const struct Within {
      Within() { ++depth; }
      ~Within() { --depth; }
    } within;
    const Stack given = torch::jit::last(*stack, op.schema().arguments().size()).vec();
    const long before = kernels_counted();
    kernel_.callBoxed(op, keys, stack);
    if (kernels_counted() == before) return;
    std::set<std::pair<const void*, std::size_t>> seen;
    std::uint64_t bytes = add_bytes(given, seen);
    bytes += add_bytes(torch::jit::last(*stack, op.schema().returns().size()), seen);
    count_bytes_of_operators(bytes);
  }

 private:
  static std::uint64_t add_bytes(at::ArrayRef<c10::IValue> values,
                                 std::set<std::pair<const void*, std::size_t>>& seen) {
    std::uint64_t bytes = 0;
    for (const c10::IValue& value : values) {
      std::vector<Tensor> tensors;
      if (value.isTensor()) tensors.push_back(value.toTensor());
      if (value.isTensorList()) tensors = value.toTensorVector();
      for (const Tensor& tensor : tensors) {
        if (!tensor.defined() || !tensor.is_cuda()) continue;
        if (seen.emplace(tensor.const_data_ptr(), tensor.nbytes()).second) bytes += tensor.nbytes();
      }
    }
    return bytes;
  }

  c10::SafeKernelFunction kernel_;
};

// Arithmetic of the host over whole videos would take the time and shows nothing: what writes in place does not.
class OnlySmall final : public c10::OperatorKernel {
 public:
  explicit OnlySmall(c10::SafeKernelFunction kernel) : kernel_(std::move(kernel)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) const {
    constexpr std::int64_t kSmall = 1 << 20;
    const std::size_t count = op.schema().arguments().size();
    const Tensor self = torch::jit::peek(*stack, 0, count).toTensor();
    if (self.numel() <= kSmall) return kernel_.callBoxed(op, keys, stack);
    torch::jit::drop(*stack, count);
    stack->push_back(self);
  }

 private:
  c10::SafeKernelFunction kernel_;
};

std::vector<c10::RegistrationHandleRAII>& registrations() {
  static auto* held = new std::vector<c10::RegistrationHandleRAII>;
  return *held;
}

template <class Kernel>
void replace(const c10::OperatorHandle& op, c10::DispatchKey key) {
  auto kernel = c10::KernelFunction::makeFromBoxedFunctor<Kernel>(
      std::make_unique<Kernel>(op.getComputedKernelForDispatchKey(key)));
  registrations().push_back(c10::Dispatcher::singleton().registerImpl(op.operator_name(), key, std::move(kernel),
                                                                      std::nullopt, nullptr, "counting stand-in"));
}

// LibTorch warns of kernels that replace others: here they are meant to.
struct Silent final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

const bool installed = [] {
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  const std::set<std::string> in_place{"aten::copy_", "aten::fill_", "aten::zero_", "aten::mul_",
                                       "aten::add_",  "aten::div_",  "aten::clamp_"};
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findSchema(name);
    if (!op || name.name.rfind("aten::", 0) != 0) continue;
    if (op->hasKernelForDispatchKey(c10::DispatchKey::CUDA)) replace<CountedOperator>(*op, c10::DispatchKey::CUDA);
    if (in_place.count(name.name) > 0) replace<OnlySmall>(*op, c10::DispatchKey::CPU);
  }
  return true;
}();

}  // namespace
}  // namespace nightreel::stand_in

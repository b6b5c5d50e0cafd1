// Every operator that LibTorch has for CUDA. Its own host code runs first and launches nothing, so that its checks
// refuse and its outputs have their real strides; then the CPU kernel computes on the same memory. What has its own way
// is written by hand (operators_by_hand.cpp).
#include "stand_in/operators.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <cstring>
#include <mutex>
#include <set>

#include "stand_in/computing.h"

namespace nightreel::stand_in {
namespace {

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

using Names = std::set<std::string>;

// Their host code calls cuBLAS or cuFFT: the CPU kernel alone runs.
bool calls_a_library(const std::string& name) {
  static const Names names{"mm",     "addmm", "addmm_", "bmm",      "baddbmm",  "baddbmm_", "addmv",
                           "addmv_", "dot",   "vdot",   "_fft_r2c", "_fft_c2r", "_fft_c2c"};
  return names.count(name) > 0;
}

// Their host code looks at results of their kernels: likewise.
bool looks_at_results(const std::string& name) {
  static const Names names{"nonzero",  "equal",      "masked_select",      "bincount",
                           "_unique2", "unique_dim", "unique_consecutive", "_local_scalar_dense"};
  return names.count(name) > 0;
}

// Without a CPU kernel of their name, and yet computed here: a composite of kernels of each device, and what
// fill_by_hand() knows.
bool is_special(const std::string& name) {
  static const Names names{"copy_", "_fused_rms_norm"};
  return names.count(name) > 0;
}

// Written by hand throughout.
bool is_by_hand(const std::string& name) {
  static const Names names{"_scaled_mm", "_addmm_activation"};
  return names.count(name) > 0;
}

// One pool and stream after another: what a tensor gets has somebody else's numbers in it, here always the same ones.
void poison_every_tensor() {
  static std::once_flag once;
  std::call_once(once, [] {
    at::globalContext().lazyInitDevice(at::kCUDA);
    using Entry = c10::cuda::CUDACachingAllocator::TraceEntry;
    c10::cuda::CUDACachingAllocator::attachAllocatorTraceTracker([](const Entry& entry) {
      if (entry.action_ != Entry::ALLOC) return;
      catch_up(static_cast<cudaStream_t>(entry.stream_));
      constexpr int kPoison = 0xA5;
      std::memset(reinterpret_cast<void*>(entry.addr_), kPoison, entry.size_);
    });
  });
}

// What is written to and has no elements is to be resized, which borrowed memory cannot be.
IValue host_argument(const IValue& value, const c10::Argument& argument) {
  const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
  if (written && value.isTensor() && value.toTensor().defined() && value.toTensor().numel() == 0) {
    return at::empty({0}, value.toTensor().options().device(at::kCPU));
  }
  if (value.isTensor()) return on_host(value.toTensor());
  if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor& tensor : value.toTensorVector()) list.push_back(on_host(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (const auto& tensor : value.toOptionalTensorVector()) {
      list.push_back(tensor ? std::optional<Tensor>(on_host(*tensor)) : std::nullopt);
    }
    return list;
  }
  return value.isDevice() ? IValue(at::Device(at::kCPU)) : value;
}

void fill(const std::string& name, const Tensor& output, const Tensor& computed) {
  if (!output.defined() || !computed.defined()) return;
  TORCH_CHECK(output.sizes() == computed.sizes(), "stand-in GPU: ", name, " on CUDA gives ", output.sizes(),
              " and on the CPU ", computed.sizes());
  on_host(output).copy_(computed);
}

void fill(const std::string& name, const IValue& output, const IValue& computed) {
  if (output.isTensor()) return fill(name, output.toTensor(), computed.toTensor());
  if (!output.isTensorList()) return;
  const auto outputs = output.toTensorVector();
  const auto all = computed.toTensorVector();
  for (std::size_t i = 0; i < outputs.size(); ++i) fill(name, outputs[i], all.at(i));
}

Stack host_results(const c10::OperatorHandle& op, const Stack& given) {
  Stack host;
  for (std::size_t i = 0; i < given.size(); ++i) host.push_back(host_argument(given[i], op.schema().arguments()[i]));
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &host);
  return host;
}

bool written_in_place(const c10::OperatorHandle& op, std::size_t output) {
  const auto* alias = op.schema().returns()[output].alias_info();
  return alias != nullptr && alias->isWrite();
}

class HostCodeThenCpu final : public c10::OperatorKernel {
 public:
  HostCodeThenCpu(std::string name, c10::SafeKernelFunction host_code)
      : name_(std::move(name)), host_code_(std::move(host_code)) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet keys, Stack* stack) const {
    poison_every_tensor();
    if (without_kernels()) return host_code_.callBoxed(op, keys, stack);  // within another's host code
    const auto given = torch::jit::last(*stack, op.schema().arguments().size()).vec();
    const WithoutKernels without(op.schema().name().c_str(), /*may_read=*/name_ == "copy_");
    host_code_.callBoxed(op, keys, stack);
    if (without.launches() == 0) return;  // a view, or copies that were carried out
    if (name_ == "copy_") settle(c10::cuda::getCurrentCUDAStream().stream());  // before what it copied is overwritten
    const auto outputs = torch::jit::last(*stack, op.schema().returns().size());
    if (fill_by_hand(op.schema().name(), given, outputs)) return;
    const Stack computed = host_results(op, given);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!written_in_place(op, i)) fill(op.schema().name(), outputs[i], computed.at(i));
    }
  }

 private:
  std::string name_;
  c10::SafeKernelFunction host_code_;
};

class CpuAlone final : public c10::OperatorKernel {
 public:
  explicit CpuAlone(bool reads) : reads_(reads) {}

  void operator()(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) const {
    poison_every_tensor();
    if (reads_ && without_kernels()) break_gpu("an operator's host code calls " + op.schema().name());
    const auto given = torch::jit::last(*stack, op.schema().arguments().size()).vec();
    torch::jit::drop(*stack, given.size());
    refuse_two_devices(op.schema().name(), tensors_of(given));
    const Stack computed = host_results(op, given);
    for (std::size_t i = 0; i < computed.size(); ++i) {
      stack->push_back(written_in_place(op, i) ? output(op, given, computed[i]) : to_gpu(computed[i]));
    }
  }

 private:
  static std::vector<Tensor> tensors_of(const Stack& given) {
    std::vector<Tensor> all;
    for (const IValue& value : given) {
      if (value.isTensor()) all.push_back(value.toTensor());
    }
    return all;
  }

  static IValue to_gpu(const IValue& value) { return value.isTensor() ? IValue(on_gpu(value.toTensor())) : value; }

  // The tensor that is written to comes back.
  static IValue output(const c10::OperatorHandle& op, const Stack& given, const IValue& computed) {
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto* alias = op.schema().arguments()[i].alias_info();
      if (alias == nullptr || !alias->isWrite()) continue;
      const Tensor& mine = given[i].toTensor();
      if (mine.sizes() != computed.toTensor().sizes()) {
        mine.resize_(computed.toTensor().sizes());
        on_host(mine).copy_(computed.toTensor());
      }
      return mine;
    }
    return computed;
  }

  bool reads_;
};

std::vector<c10::RegistrationHandleRAII>& registrations() {
  static auto* held = new std::vector<c10::RegistrationHandleRAII>;
  return *held;
}

c10::KernelFunction replacement(const std::string& base, const c10::OperatorHandle& op) {
  if (calls_a_library(base) || looks_at_results(base)) {
    return c10::KernelFunction::makeFromBoxedFunctor<CpuAlone>(std::make_unique<CpuAlone>(looks_at_results(base)));
  }
  return c10::KernelFunction::makeFromBoxedFunctor<HostCodeThenCpu>(
      std::make_unique<HostCodeThenCpu>(base, op.getComputedKernelForDispatchKey(c10::DispatchKey::CUDA)));
}

/// What has no CPU kernel stays as it is: its launch is an error then.
bool can_be_computed(const std::string& base, const c10::OperatorHandle& op) {
  if (is_special(base)) return true;
  if (is_by_hand(base)) return false;
  return op.hasKernelForDispatchKey(c10::DispatchKey::CUDA) && op.hasKernelForDispatchKey(c10::DispatchKey::CPU);
}

// LibTorch warns of kernels that replace others: here they are meant to.
struct Silent final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

const bool installed = [] {
  Silent silent;
  const c10::WarningUtils::WarningHandlerGuard guard(&silent);
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    const std::string base = name.name.substr(6);
    const auto op = dispatcher.findSchema(name);
    if (!op || !can_be_computed(base, *op)) continue;
    registrations().push_back(dispatcher.registerImpl(name, c10::DispatchKey::CUDA, replacement(base, *op),
                                                      std::nullopt, nullptr, "stand-in GPU"));
  }
  return true;
}();

}  // namespace

Tensor on_host(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_cuda()) return tensor;
  TORCH_CHECK(broken() == cudaSuccess, cudaGetErrorString(broken()));
  catch_up(c10::cuda::getCurrentCUDAStream().stream());
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(), tensor.options().device(at::kCPU));
}

Tensor on_gpu(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_cpu()) return tensor;
  const at::Tensor out =
      at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(at::Device(at::kCUDA, 0)));
  on_host(out).copy_(tensor);
  return out;
}

void refuse_two_devices(const std::string& name, const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) {
    TORCH_CHECK(!tensor.defined() || tensor.is_cuda() || tensor.dim() == 0,
                "Expected all tensors to be on the same device, but ", name, " got one on ", tensor.device(),
                " beside one on cuda:0");
  }
}

}  // namespace nightreel::stand_in

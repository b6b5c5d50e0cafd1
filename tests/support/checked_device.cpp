#include "support/checked_device.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace nightreel::test {

namespace {

using at::IntArrayRef;
using at::Tensor;
using std::optional;

const c10::Device kDevice(at::kPrivateUse1, 0);

// One device, one stream, nothing asynchronous.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return at::kPrivateUse1; }
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

std::atomic<std::size_t> live{0};    // bytes on the device
constexpr std::size_t kHeader = 64;  // before each block: its size

void release(void* memory) {
  auto* block = static_cast<char*>(memory) - kHeader;
  std::size_t bytes = 0;
  std::memcpy(&bytes, block, sizeof(bytes));
  live -= bytes;
  std::free(block);
}

struct HostMemory final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    auto* block = static_cast<char*>(std::aligned_alloc(kHeader, (bytes / kHeader + 2) * kHeader));
    std::memcpy(block, &bytes, sizeof(bytes));
    live += bytes;
    return {block + kHeader, block + kHeader, &release, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};

HostMemory& host_memory() {
  static HostMemory memory;
  return memory;
}

struct Hooks final : at::PrivateUse1HooksInterface {
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override { return generator_; }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  c10::Device getDeviceFromPtr(void*) const override { return kDevice; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isAvailable() const override { return true; }
  bool isBuilt() const override { return true; }

 private:
  at::Generator generator_ = at::detail::createCPUGenerator();
};

/// The same memory as a CPU tensor.
Tensor on_host(const Tensor& t) {
  if (t.is_cpu()) return t;
  return at::from_blob(t.data_ptr(), t.sizes(), t.strides(), t.options().device(at::kCPU));
}

void check_device(const char* op, const Tensor& t) {
  if (!t.defined() || t.dim() == 0 || t.is_privateuseone()) return;
  TORCH_CHECK(false, "checked device: ", op, " got a tensor on ", t.device());
}

void check_argument(const char* op, const c10::IValue& argument) {
  if (argument.isTensor()) {
    check_device(op, argument.toTensor());
  } else if (argument.isTensorList()) {
    for (const Tensor& t : argument.toTensorVector()) check_device(op, t);
  } else if (argument.isOptionalTensorList()) {
    for (const auto& t : argument.toOptionalTensorVector()) {
      if (t) check_device(op, *t);
    }
  }
}

void check_then_fall_back(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const char* name = op.schema().name().c_str();
  for (const c10::IValue& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
    check_argument(name, argument);
  }
  at::native::cpu_fallback(op, stack);
}

// What the fallback itself needs: memory, copies, views.

Tensor empty(IntArrayRef size, optional<at::ScalarType> dtype, optional<at::Layout>, optional<c10::Device>,
             optional<bool>, optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &host_memory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, optional<at::ScalarType> dtype, optional<at::Layout>,
                     optional<c10::Device>, optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, &host_memory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype.value_or(at::kFloat));
}

const Tensor& resize_in_place(const Tensor& t, IntArrayRef size, optional<at::MemoryFormat>) {
  if (t.sizes() == size) return t;
  const Tensor fresh = empty(size, t.scalar_type(), {}, {}, {}, {});
  t.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
  t.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return t;
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  on_host(to).copy_(on_host(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  resize_in_place(to, from.sizes(), {});
  return copy_from(from, to, false);
}

Tensor as_strided(const Tensor& t, IntArrayRef size, IntArrayRef stride, optional<std::int64_t> offset) {
  return at::native::as_strided_tensorimpl(t, size, stride, offset);
}

// What LibTorch asks of a device instead of falling back.

std::int64_t plain_attention(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&, double, bool,
                             optional<double>, bool) {
  return 0;  // at::SDPBackend::math
}

Tensor convolution(const Tensor& x, const Tensor& weight, const optional<Tensor>& bias, IntArrayRef stride,
                   IntArrayRef padding, IntArrayRef dilation, bool transposed, IntArrayRef output_padding,
                   std::int64_t groups) {
  optional<Tensor> host_bias;
  for (const Tensor& t : {x, weight}) check_device("convolution", t);
  if (bias && bias->defined()) {
    check_device("convolution", *bias);
    host_bias = on_host(*bias);
  }
  return at::convolution(on_host(x), on_host(weight), host_bias, stride, padding, dilation, transposed, output_padding,
                         groups)
      .to(kDevice);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&check_then_fall_back>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("resize_", resize_in_place);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("as_strided", as_strided);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("view_as_complex", at::native::view_as_complex);
  m.impl("view_as_real", at::native::view_as_real);
  m.impl("_fused_sdp_choice", plain_attention);
  m.impl("convolution_overrideable", convolution);
}

}  // namespace

c10::Device checked_device() {
  static const bool registered = [] {
    static Hooks hooks;
    c10::SetAllocator(at::kPrivateUse1, &host_memory());
    at::RegisterPrivateUse1HooksInterface(&hooks);
    return true;
  }();
  static_cast<void>(registered);
  return kDevice;
}

std::size_t checked_device_bytes() {
  return live;
}

}  // namespace nightreel::test

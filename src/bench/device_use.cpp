// H heads, S tokens, D size of a head.
#include "nightreel/bench/device_use.h"

#include <ATen/ATen.h>
#include <ATen/SDPBackend.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "nightreel/base/clock.h"
#include "nightreel/pipeline/gpu_memory.h"

namespace nightreel::bench {

namespace {

constexpr std::int64_t kSide = 8192;  // of the matrices: large enough for a GPU's full rate
constexpr int kProducts = 20;

std::uint64_t peak_of(const c10::CachingAllocator::StatArray& stats) {
  return static_cast<std::uint64_t>(stats.front().peak);  // the first is the aggregate
}

}  // namespace

void forget_peaks(at::Device device) {
  if (!device.is_cuda()) return;
  synchronise(device);
  pipeline::release_all_unused(device);
  c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

std::optional<MemoryUse> peak_memory(at::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return MemoryUse{peak_of(stats.allocated_bytes), peak_of(stats.reserved_bytes)};
}

void synchronise(at::Device device) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

std::optional<std::string> attention_kernel(const AttentionShape& shape, at::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  const c10::InferenceMode inference;
  const auto options = at::TensorOptions(shape.dtype).device(device);
  const at::Tensor q_1HSD = at::empty({1, shape.tokens, shape.heads, shape.head_dim}, options).transpose(1, 2);
  std::optional<at::Tensor> bias_1HSS;
  if (shape.biased) bias_1HSS = at::empty({1, shape.heads, shape.tokens, shape.tokens}, options);
  switch (static_cast<at::SDPBackend>(at::_fused_sdp_choice(q_1HSD, q_1HSD, q_1HSD, bias_1HSS))) {
    case at::SDPBackend::cudnn_attention:
      return "cudnn";
    case at::SDPBackend::flash_attention:
      return "flash";
    case at::SDPBackend::efficient_attention:
      return "efficient";
    case at::SDPBackend::math:
      return "math";
    default:
      return std::nullopt;
  }
}

std::optional<double> matmul_tflops(at::Device device, at::ScalarType dtype) {
  if (!device.is_cuda()) return std::nullopt;
  const c10::InferenceMode inference;
  double seconds = 0;
  {
    // Of numbers that differ: a GPU draws less power, and so runs faster, on equal ones.
    const auto options = at::TensorOptions(dtype).device(device);
    const at::Tensor a = at::empty({kSide, kSide}, options).normal_();
    const auto multiply = [&] {
      for (int i = 0; i < kProducts; ++i) at::mm(a, a);
      synchronise(device);
    };
    multiply();  // warms up
    const base::Stopwatch watch;
    multiply();
    seconds = watch.seconds();
  }
  pipeline::release_all_unused(device);
  return kProducts * 2.0 * kSide * kSide * kSide / seconds / 1e12;
}

}  // namespace nightreel::bench

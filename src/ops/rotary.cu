// B batch, S tokens, H heads, D size of a head, P = D/2 pairs. One thread a pair: the kernel is bound by memory.
#include <ATen/Dispatch.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAGuard.h>

#include "nightreel/base/error.h"
#include "ops/rotary_cuda.h"
#include "ops/rotary_element.h"

namespace nightreel::ops {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it the threads loop

template <class T>
__global__ void rotary_kernel(std::int64_t count, RotaryShape shape, const T* x, const float* table, T* out) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    rotate_pair(i, shape, x, table, out);
  }
}

}  // namespace

at::Tensor apply_rotary_cuda(const at::Tensor& x_BSHD, const at::Tensor& table_SP2) {
  const c10::cuda::CUDAGuard guard(x_BSHD.device());
  const at::Tensor x = x_BSHD.contiguous();
  const at::Tensor table = table_SP2.contiguous();
  TORCH_CHECK(table.device() == x.device() && table.scalar_type() == at::kFloat && x.size(3) % 2 == 0 &&
                  table.size(0) == x.size(1) && table.size(1) == x.size(3) / 2,
              "apply_rotary: the table does not fit the tensor");
  at::Tensor out = at::empty_like(x);
  const std::int64_t count = x.numel() / 2;
  if (count == 0) return out;
  const RotaryShape shape{x.size(1), x.size(2), x.size(3) / 2};
  const std::int64_t blocks = std::min((count + kThreads - 1) / kThreads, kMaxBlocks);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, x.scalar_type(), "apply_rotary", [&] {
    rotary_kernel<scalar_t><<<static_cast<unsigned>(blocks), kThreads, 0, at::cuda::getCurrentCUDAStream()>>>(
        count, shape, x.const_data_ptr<scalar_t>(), table.const_data_ptr<float>(), out.mutable_data_ptr<scalar_t>());
  });
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    throw base::Error(base::ErrorKind::device, std::string("rotary kernel: ") + cudaGetErrorString(status));
  }
  return out;
}

}  // namespace nightreel::ops

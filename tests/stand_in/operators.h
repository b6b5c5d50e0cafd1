// LibTorch's operators on the computing stand-in.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

namespace nightreel::stand_in {

/// The same memory as a tensor of the CPU's, once what comes before on the current stream is done; what is not on the
/// GPU as it is. Throws what broke the GPU.
at::Tensor on_host(const at::Tensor& tensor);
/// A copy on the GPU, of the same sizes and strides.
at::Tensor on_gpu(const at::Tensor& tensor);

/// What LibTorch's CUDA code says of tensors of two devices. A tensor without dimensions is a number.
void refuse_two_devices(const std::string& name, const std::vector<at::Tensor>& tensors);

/// Fills the outputs of an operator whose host code has run, where its CPU kernel will not do; false: the CPU kernel
/// will.
bool fill_by_hand(const std::string& name, const torch::jit::Stack& given, at::ArrayRef<c10::IValue> outputs);

}  // namespace nightreel::stand_in

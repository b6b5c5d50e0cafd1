#include "model/onednn.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <array>

namespace nightreel::model {

namespace {

constexpr std::array<std::int64_t, 3> kDilation{1, 1, 1};

}  // namespace

at::Tensor pack_onednn_weight(const at::Tensor& weight, const ConvSteps& steps, at::IntArrayRef input_shape) {
  return at::mkldnn_reorder_conv3d_weight(weight.contiguous().to_mkldnn(), steps.padding, steps.stride, kDilation, 1,
                                          input_shape);
}

at::Tensor onednn_convolution(const at::Tensor& x_1CTYX, const at::Tensor& packed_weight, const at::Tensor& bias,
                              const ConvSteps& steps) {
  const c10::OperatorHandle convolve =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise", "");
  c10::Stack stack{x_1CTYX,
                   packed_weight,
                   bias,
                   steps.padding,
                   steps.stride,
                   at::IntArrayRef(kDilation),
                   std::int64_t{1},
                   "none",
                   c10::List<std::optional<at::Scalar>>(),
                   ""};
  convolve.callBoxed(stack);
  return stack.front().toTensor();
}

}  // namespace nightreel::model

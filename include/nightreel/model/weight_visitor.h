// How a module shows its weights to somebody who moves them between a device and the host.
//
// A visitor may put another tensor of the same shape, dtype and values in a weight's place, on whatever device; while
// one is not on the module's own device, the module must not compute. One thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace nightreel::model {

using WeightVisitor = std::function<void(at::Tensor& weight)>;

}  // namespace nightreel::model

#include "nightreel/model/feed_forward.h"

#include <ATen/ATen.h>

namespace nightreel::model {

void FeedForward::parameters(const std::string& name, ParameterList& list) {
  list.linear(in_, name + "net.0.proj", width_, inner_);
  list.linear(out_, name + "net.2", inner_, width_);
}

at::Tensor FeedForward::forward(ReadyInput x_BSD) const {
  at::Tensor hidden = in_(x_BSD);
  x_BSD = {};
  return out_(at::gelu_(hidden, "tanh"));
}

}  // namespace nightreel::model

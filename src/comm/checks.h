// What every back-end asks of a tensor before it sends it, so that a program behaves alike on all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace nightreel::comm {

enum class Verb { broadcast, all_gather, all_to_all, all_reduce };

const char* name(Verb verb);

/// "all_gather Float [2, 3]": what a rank does, in words that can be compared between ranks.
std::string describe(Verb verb, const at::Tensor& tensor, int root);

/// Why `tensor` cannot go through `verb` among `size` ranks on devices of type `device`; empty if it can.
std::string misfit(Verb verb, const at::Tensor& tensor, int root, int size, at::DeviceType device);

}  // namespace nightreel::comm

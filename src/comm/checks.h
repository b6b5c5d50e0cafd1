// What every back-end asks of a tensor before it sends it, so that a program behaves alike on all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace nightreel::comm {

enum class Verb { broadcast, all_gather, all_to_all, shift, all_reduce };

const char* name(Verb verb);

/// "all_gather Float [2, 3]": what a rank does, in words that can be compared between ranks. `whither`: a broadcast's
/// root, a shift's distance.
std::string describe(Verb verb, const at::Tensor& tensor, int whither);

/// Why `tensor` cannot go through `verb` among `size` ranks on devices of type `device`; empty if it can.
std::string misfit(Verb verb, const at::Tensor& tensor, int whither, int size, at::DeviceType device);

/// Why `out` cannot take what `size` ranks gather of tensors like `tensor`, which itself fits; empty if it can.
std::string gather_misfit(const at::Tensor& out, const at::Tensor& tensor, int size);

/// The shape of what `size` ranks gather of tensors like `tensor`.
std::vector<std::int64_t> gathered_shape(const at::Tensor& tensor, int size);

/// Why a group cannot be split with this rank in `part`; empty if it can.
std::string part_misfit(int part);

/// The rank that is `by` further round a ring of `size`.
int around(int rank, int by, int size);

}  // namespace nightreel::comm

// Texts, which ranks do not know the length of beforehand, over a group's tensors. Collective, as communicator.h says.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "nightreel/comm/communicator.h"

namespace nightreel::comm {

/// The text of rank 0, on every rank. `device`: where the group's tensors live.
std::string broadcast_text(Communicator& group, at::Device device, const std::string& text);

/// Every rank's text, in rank order. All travel at the length of the longest.
std::vector<std::string> all_gather_texts(Communicator& group, at::Device device, const std::string& text);

}  // namespace nightreel::comm

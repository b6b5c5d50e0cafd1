// How fast a group's members exchange what a video needs, and whether every byte comes where it should: both from the
// same calls. Collective: all members make the same call.
#pragma once

#include <vector>

#include "nightreel/comm/communicator.h"
#include "nightreel/protocol/probe.h"

namespace nightreel::render {

/// Each transfer once unmeasured, then `repeats` times; tensors live on `device`. Throws Error{comm}, Error{usage}
/// where the elements of an all_to_all do not divide among the members.
std::vector<protocol::TransferResult> measure_transfers(comm::Communicator& group, at::Device device,
                                                        const std::vector<protocol::Transfer>& transfers, int repeats);

}  // namespace nightreel::render

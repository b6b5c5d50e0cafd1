// The request `probe` and its answer `probed`: what a rank asks its renderer because it links neither LibTorch, CUDA
// nor NCCL itself. `doctor` and `bench comm` are made of it.
//
// Plain values; any thread. Decoding is as strict as in message.h: Error{renderer}.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/protocol/message.h"

namespace nightreel::protocol {

/// One exchange between the renderers of a group, to be measured and checked. Elements are bfloat16 (2 bytes).
struct Transfer {
  std::string name;           // "attention, 832x480, 81 frames"
  std::string verb;           // all_to_all, all_gather
  std::int64_t elements = 0;  // that each member sends, at least 1; of all_to_all a multiple of the group's size
};

struct ProbeRequest {
  /// versions: of the engine's libraries. model: its digest, read whole. group: joined at `group`, a sum checked, each
  /// of `transfers` measured, left.
  std::string what = "versions";
  std::string model;   // of model: a folder
  GroupRequest group;  // of group: with an address
  std::vector<Transfer> transfers;
  int repeats = 5;  // of each transfer, 1 to 1000; one more goes before them, unmeasured
};

struct TransferResult {
  std::string name;
  std::string verb;
  std::uint64_t bytes = 0;  // that this member sent
  double seconds = 0;       // the median, as this member saw it
  bool correct = false;     // every byte that came was the right one
};

struct ProbedEvent {
  Json facts;  // versions: library -> version. model: digest, seconds. group: sum_correct
  std::vector<TransferResult> transfers;
};

std::string encode(const ProbeRequest& request);
std::string encode(const ProbedEvent& event);
/// A request without fields asks for the versions.
ProbeRequest probe_request(const Message& message);
ProbedEvent probed_event(const Message& message);

}  // namespace nightreel::protocol

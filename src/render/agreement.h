// How the renderers of a group stay in step: they get the same requests at different times, and rank 0 alone hears what
// becomes of a job. So rank 0 says what is done next, and whatever may fail on one member alone is tried before a
// collective depends on it.
//
// Refers to the group, which must outlive it; the thread that renders. Calls are collective and throw Error{comm},
// after which the group is of no use.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>

#include "nightreel/comm/communicator.h"
#include "nightreel/pipeline/denoise.h"

namespace nightreel::render {

/// What rank 0 has all members do next. `wait`: nothing yet (Limits::beat).
struct Order {
  enum class Verb { wait, render, begin, finish, end };
  Verb verb = Verb::wait;
  std::string job;
  std::uint64_t token = 0;
};

class Agreement {
 public:
  /// `device`: where the group's tensors live.
  Agreement(comm::Communicator& group, at::Device device, std::chrono::milliseconds deadline);

  /// Whether this member decides, keeps the checkpoint and writes the files.
  bool leads() const { return group_.rank() == 0; }
  std::chrono::milliseconds deadline() const { return deadline_; }

  /// Rank 0: tells the others.
  void tell(const Order& order);
  /// The others: what rank 0 tells.
  Order hear();

  /// Does `work`, which calls no other member. Where it throws on some, all throw the error of the first of them, with
  /// its rank in front.
  void together(const std::function<void()>& work);

  /// Rank 0's.
  std::optional<pipeline::DenoiseState> same_state(const std::optional<pipeline::DenoiseState>& state);

  /// The least of all members' memory; 0 is no limit.
  std::uint64_t least_memory(std::uint64_t bytes);

  /// Whether a job that failed so has left every member between the same two calls, so that the group goes on. After
  /// other errors members may wait for each other.
  static bool in_step(const std::exception& thrown);

 private:
  comm::Communicator& group_;
  at::Device device_;
  std::chrono::milliseconds deadline_;
};

}  // namespace nightreel::render

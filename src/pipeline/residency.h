// Which components' weights are on the device that computes, and which wait on the host.
//
// Owns the copies on the host; the modules are the caller's and must outlive this object where they stand. One thread,
// the one that computes. Weights are copied to the host when they first leave; later only those that somebody has
// exchanged meanwhile (a merged LoRA). Copies are queued on the device's current stream, so that whatever is computed
// afterwards finds them done.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "nightreel/memory/plan.h"
#include "nightreel/model/parameter.h"

namespace nightreel::pipeline {

class HostMemory;

/// The weights of one component, here or on the host.
class MovingWeights {
 public:
  /// Calls its visitor with every weight, in the same order each time.
  using EachWeight = std::function<void(const model::WeightVisitor&)>;

  /// Weights that are on `device`.
  MovingWeights(at::Device device, EachWeight each);
  MovingWeights(const MovingWeights&) = delete;
  MovingWeights& operator=(const MovingWeights&) = delete;
  ~MovingWeights();

  bool here() const { return here_; }
  void leave();
  void bring();

 private:
  struct Weight {
    at::Tensor host;    // its copy there
    at::Tensor placed;  // what bring() put into the module; another one there: it was exchanged
  };
  void make_room();

  at::Device device_;
  EachWeight each_;
  bool here_ = true;
  std::unique_ptr<HostMemory> memory_;
  std::vector<Weight> weights_;
};

class Residency {
 public:
  explicit Residency(at::Device device) : device_(device) {}

  /// A component whose weights are on the device. Those that the plan does not let stay leave at once.
  void add(memory::Part part, MovingWeights::EachWeight each);
  /// Where weights are from now on; nothing moves before need().
  void adopt(const memory::MemoryPlan& plan) { plan_ = plan; }
  /// Sends away what may not stay beside `parts`, then brings these. What the stage before has left goes back to the
  /// driver where the allocator could not use it (gpu_memory.h).
  void need(const std::set<memory::Part>& parts);
  bool here(memory::Part part) const;

 private:
  bool may_stay(memory::Part part, const std::set<memory::Part>& beside) const;

  at::Device device_;
  memory::MemoryPlan plan_;
  std::set<memory::Part> at_work_;  // what was needed last
  std::map<memory::Part, std::unique_ptr<MovingWeights>> parts_;
};

}  // namespace nightreel::pipeline

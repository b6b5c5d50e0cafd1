#include "pipeline/residency.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "nightreel/pipeline/gpu_memory.h"
#include "pipeline/host_memory.h"

namespace nightreel::pipeline {
namespace {

using memory::Part;

constexpr std::size_t kAlignment = 512;  // as CUDA's own allocations

std::size_t room_for(const at::Tensor& weight) {
  return (weight.nbytes() + kAlignment - 1) / kAlignment * kAlignment;
}

bool is_expert(Part part) {
  return part == Part::transformer || part == Part::transformer_2;
}

}  // namespace

MovingWeights::MovingWeights(at::Device device, EachWeight each) : device_(device), each_(std::move(each)) {}

MovingWeights::~MovingWeights() = default;

// A dense tensor keeps its strides on both sides: cuDNN wants its weights channels last.
void MovingWeights::make_room() {
  if (memory_) return;
  std::size_t bytes = 0;
  each_([&](at::Tensor& weight) { bytes += room_for(weight); });
  memory_ = std::make_unique<HostMemory>(std::max(bytes, kAlignment), device_.is_cuda());
  std::size_t offset = 0;
  each_([&](at::Tensor& weight) {
    const at::TensorOptions options = weight.options().device(at::kCPU);
    weights_.push_back({at::from_blob(memory_->at(offset), weight.sizes(), weight.strides(), options), {}});
    offset += room_for(weight);
  });
}

void MovingWeights::leave() {
  if (!here_ || device_.is_cpu()) return;
  const c10::InferenceMode inference;
  make_room();
  auto next = weights_.begin();
  each_([&](at::Tensor& weight) {
    Weight& known = *next++;
    if (!weight.is_same(known.placed)) known.host.copy_(weight, /*non_blocking=*/true);
    known.placed.reset();
    weight = known.host;
  });
  here_ = false;
}

void MovingWeights::bring() {
  if (here_) return;
  const c10::InferenceMode inference;
  auto next = weights_.begin();
  each_([&](at::Tensor& weight) {
    Weight& known = *next++;
    if (weight.device() == device_) return;  // exchanged by one that is here already
    const bool ours = weight.is_same(known.host);
    weight = weight.to(device_, /*non_blocking=*/true);
    if (ours) known.placed = weight;
  });
  here_ = true;
}

void Residency::add(Part part, MovingWeights::EachWeight each) {
  auto& added = parts_[part] = std::make_unique<MovingWeights>(device_, std::move(each));
  if (!plan_.stays(part)) added->leave();
}

bool Residency::may_stay(Part part, const std::set<Part>& beside) const {
  if (beside.count(part) > 0 || plan_.stays(part)) return true;
  const bool expert_comes = beside.count(Part::transformer) + beside.count(Part::transformer_2) > 0;
  return is_expert(part) && plan_.experts == memory::MemoryPlan::Experts::take_turns && !expert_comes;
}

void Residency::need(const std::set<Part>& parts) {
  for (const auto& [part, weights] : parts_) {
    if (!may_stay(part, parts)) weights->leave();
  }
  if (parts != at_work_) release_unused(device_);  // another stage, whose tensors have other sizes
  at_work_ = parts;
  for (const Part part : parts) {
    const auto found = parts_.find(part);
    if (found != parts_.end()) found->second->bring();
  }
}

bool Residency::here(Part part) const {
  const auto found = parts_.find(part);
  return found != parts_.end() && found->second->here();
}

}  // namespace nightreel::pipeline

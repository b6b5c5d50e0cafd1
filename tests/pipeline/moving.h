// What tests of weights that come and go share, with goldens and without.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "nightreel/memory/plan.h"
#include "nightreel/pipeline/pipeline.h"

namespace nightreel::test {

inline memory::MemoryPlan moving_plan(bool encoders_leave, memory::MemoryPlan::Experts experts, bool vae_leaves,
                                      bool two_experts = true) {
  memory::MemoryPlan plan;
  plan.encoders_leave = encoders_leave;
  plan.experts = experts;
  plan.vae_leaves = vae_leaves;
  plan.two_experts = two_experts;
  return plan;
}

/// All frames of a video, uint8 [F, H, W, 3].
inline at::Tensor decoded(const pipeline::Pipeline& pipeline, const at::Tensor& latents_CFYX) {
  std::vector<at::Tensor> pieces_FHW3;
  pipeline.decode(latents_CFYX, [&](const at::Tensor& piece) { pieces_FHW3.push_back(piece); });
  return at::cat(pieces_FHW3);
}

}  // namespace nightreel::test

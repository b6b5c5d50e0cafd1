// A network beside a transformer's blocks that adds to what they compute, as VACE's control does: an interface.
//
// A branch owns its weights, which are whole on every rank, and what it was told of a video. A Transformer that has it
// (Transformer::add_branch) lists its weights among its own, and begins a pass of it with each of its own, in the
// thread that computes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>

#include "nightreel/model/attention.h"
#include "nightreel/model/parameter.h"
#include "nightreel/model/time_embedder.h"

namespace nightreel::model {

/// What goes along with the blocks, once from the first to the last.
class BranchPass {
 public:
  BranchPass() = default;
  BranchPass(const BranchPass&) = delete;
  BranchPass& operator=(const BranchPass&) = delete;
  virtual ~BranchPass() = default;

  /// The tokens x that come out of `block`, which are spent, with what is added to them. No collective calls: the next
  /// block's weights are on their way meanwhile.
  virtual at::Tensor after(std::size_t block, at::Tensor x_BSD) = 0;
};

class Branch {
 public:
  Branch() = default;
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;
  virtual ~Branch() = default;

  /// Adds its tensors, with the names that they have in the transformer's files.
  virtual void parameters(ParameterList& list) = 0;

  /// Before the first block: x are the tokens that it will get, which it overwrites; then their time steps, and the
  /// contexts without keys. Collective calls over `tokens.group` are made here.
  virtual std::unique_ptr<BranchPass> begin(const at::Tensor& x_BSD, const TimeEmbeddings& times,
                                            const Contexts& contexts, const Tokens& tokens) const = 0;
};

}  // namespace nightreel::model

// Which rank of a group computes what of one video.
//
// Guidance first: where a pass is guided and the group is even, the first half of its ranks computes the velocity for
// the prompt, the second that for the negative prompt, and they exchange the two in the end. Then the sequence: within
// a half, or over the whole group, tokens are dealt out (model/sequence_parallel.h).
//
// Owns the group and its parts. One thread; calls are collective: all ranks render the same video with the same
// settings and make the same calls. They throw base::Error{comm}, after which the group is of no use.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/comm/communicator.h"
#include "nightreel/model/sequence_parallel.h"
#include "nightreel/pipeline/denoise.h"
#include "nightreel/settings/settings.h"

namespace nightreel::pipeline {

class ParallelPlan {
 public:
  /// For transformers of `heads` heads. `device`: where the group's tensors live.
  ParallelPlan(std::unique_ptr<comm::Communicator> group, std::int64_t heads, at::Device device);

  comm::Communicator& group() { return *group_; }
  /// Whether this rank speaks for the group: it encodes prompts and writes what is rendered.
  bool leads() const { return group_->rank() == 0; }

  /// Whether a guided pass goes through two halves.
  bool has_halves() const { return group_->size() % 2 == 0; }
  /// Whether this rank is of the half that computes for the negative prompt.
  bool takes_negative() const { return has_halves() && group_->rank() >= half_size(); }
  /// Tokens dealt out over this rank's half, or over the whole group.
  const model::SequenceParallel& sequence(bool halves);
  /// From each half's velocity [1, …] to that for the prompt and that for the negative prompt, [2, …].
  at::Tensor exchange(const at::Tensor& velocity_1CFYX);

  /// Throws on every rank where the ranks are not about to render the same video from the same step on, naming what
  /// differs.
  void require_same(const settings::Settings& settings, std::int64_t first_step);
  /// What is done after a step: the most that any rank wants. One that is cancelled cancels all.
  AfterStep agree(AfterStep mine, const base::CancelToken& cancel);

  /// Ends the group in an orderly way, on all ranks.
  void finalize();

 private:
  int half_size() const { return group_->size() / 2; }
  void make_halves();
  at::Tensor gather_numbers(const at::Tensor& numbers);

  std::unique_ptr<comm::Communicator> group_;
  std::int64_t heads_;
  at::Device device_;
  // Made when they are first needed: not every video is guided, and communicators cost memory on a GPU.
  std::unique_ptr<comm::Communicator> half_;
  std::unique_ptr<comm::Communicator> pair_;  // this rank and its counterpart in the other half
  std::optional<model::SequenceParallel> over_all_;
  std::optional<model::SequenceParallel> over_half_;
};

}  // namespace nightreel::pipeline

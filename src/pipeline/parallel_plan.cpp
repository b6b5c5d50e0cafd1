// C channels, F frames, Y rows, X columns of the latents; N facts that ranks compare.
#include "pipeline/parallel_plan.h"

#include <ATen/ATen.h>

#include <functional>

#include "nightreel/base/error.h"
#include "nightreel/settings/key.h"

namespace nightreel::pipeline {

namespace {

using base::Error;
using base::ErrorKind;

struct Fact {
  std::string name;
  std::int64_t value;
};

/// All that ranks must agree on to stay in step, by the names of a job's fields. How the file is written is rank 0's
/// business.
std::vector<Fact> facts_of(const settings::Settings& settings, std::int64_t first_step) {
  std::vector<Fact> facts{{"the step to go on from", first_step}};
  for (const auto& [name, value] : settings::sampling_facts(settings)) {
    facts.push_back({name, static_cast<std::int64_t>(std::hash<std::string>()(value))});
  }
  return facts;
}

}  // namespace

ParallelPlan::ParallelPlan(std::unique_ptr<comm::Communicator> group, std::int64_t heads, at::Device device)
    : group_(std::move(group)), heads_(heads), device_(device) {}

/// A few numbers of each rank, on the CPU.
at::Tensor ParallelPlan::gather_numbers(const at::Tensor& numbers) {
  return group_->all_gather(numbers.to(device_)).cpu();
}

void ParallelPlan::make_halves() {
  if (over_half_) return;
  if (half_size() > 1) {
    half_ = group_->split(takes_negative() ? 1 : 0);
    pair_ = group_->split(group_->rank() % half_size());
    over_half_.emplace(*half_, heads_);
  } else {
    over_half_.emplace();
  }
}

const model::SequenceParallel& ParallelPlan::sequence(bool halves) {
  if (halves) {
    make_halves();
    return *over_half_;
  }
  if (!over_all_) over_all_.emplace(*group_, heads_);
  return *over_all_;
}

at::Tensor ParallelPlan::exchange(const at::Tensor& velocity_1CFYX) {
  make_halves();
  return (pair_ ? *pair_ : *group_).all_gather(velocity_1CFYX);
}

void ParallelPlan::require_same(const settings::Settings& settings, std::int64_t first_step) {
  const std::vector<Fact> facts = facts_of(settings, first_step);
  at::Tensor mine_1N = at::empty({1, static_cast<std::int64_t>(facts.size())}, at::kLong);
  for (std::size_t i = 0; i < facts.size(); ++i) mine_1N[0][static_cast<std::int64_t>(i)] = facts[i].value;
  const at::Tensor all_RN = gather_numbers(mine_1N);
  std::string differing;
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const at::Tensor values_R = all_RN.select(1, static_cast<std::int64_t>(i));
    if (values_R.eq(values_R[0]).all().item<bool>()) continue;
    differing += (differing.empty() ? "" : ", ") + facts[i].name;
  }
  if (differing.empty()) return;
  throw Error(ErrorKind::comm, "the ranks of the group were told to render different videos: " + differing +
                                   " differ; every rank must get the same request");
}

AfterStep ParallelPlan::agree(AfterStep mine, const base::CancelToken& cancel) {
  constexpr std::int64_t kCancelled = 1000;
  const std::int64_t wish = cancel.cancelled() ? kCancelled : static_cast<std::int64_t>(mine);
  const auto most = gather_numbers(at::full({1}, wish, at::kLong)).max().item<std::int64_t>();
  if (most == kCancelled) throw Error(ErrorKind::interrupted, "cancelled");
  return static_cast<AfterStep>(most);
}

void ParallelPlan::finalize() {
  if (over_half_) over_half_->finalize();
  if (over_all_) over_all_->finalize();
  if (pair_) pair_->finalize();
  if (half_) half_->finalize();
  group_->finalize();
}

}  // namespace nightreel::pipeline

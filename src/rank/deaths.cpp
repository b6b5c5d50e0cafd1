#include "nightreel/rank/deaths.h"

#include <algorithm>

namespace nightreel::rank {
namespace {

constexpr double kLongestPause_s = 60;

Charge charge(Phase phase, bool one_denoised) {
  if (phase == Phase::answered) return Charge::none;
  if (phase == Phase::held_back) return Charge::free;
  return one_denoised && phase != Phase::denoising ? Charge::bystander : Charge::attempt;
}

}  // namespace

std::vector<Charge> charge_death(const std::vector<Phase>& phases) {
  const bool one_denoised = std::count(phases.begin(), phases.end(), Phase::denoising) > 0;
  std::vector<Charge> out;
  for (const Phase phase : phases) out.push_back(charge(phase, one_denoised));
  return out;
}

void Deaths::died() {
  ++in_a_row_;
  since_last_ = base::Stopwatch();
}

void Deaths::died_of_host(const std::vector<std::string>& jobs) {
  died();
  ++of_host_;
  starved_.insert(jobs.begin(), jobs.end());
}

void Deaths::video_finished() {
  in_a_row_ = of_host_ = 0;
  starved_.clear();
}

bool Deaths::may_restart() const {
  const double pause_s = first_pause_s_ * static_cast<double>(1U << static_cast<unsigned>(std::max(0, in_a_row_ - 1)));
  return !too_many() && since_last_.seconds() >= std::min(pause_s, kLongestPause_s);
}

}  // namespace nightreel::rank

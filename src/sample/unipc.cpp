#include "sample/unipc.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "sample/noise_levels.h"

namespace nightreel::sample {

namespace {

at::Tensor scalar(float value) {
  return at::scalar_tensor(value, at::kFloat);
}

/// What predictor and corrector share for a move from noise level `from` to `to`; `before` is the level before `from`.
struct Move {
  at::Tensor h;          // difference of half_log_snr
  at::Tensor keep;       // factor of the latents at `from`
  at::Tensor toward_x0;  // factor of the clean prediction, alpha * (e^-h - 1)
  at::Tensor b_h;        // e^-h - 1
  Move(float from, float to) : h(half_log_snr(to) - half_log_snr(from)), keep(scalar(to) / scalar(from)) {
    b_h = at::expm1(-h);
    toward_x0 = at::rsub(scalar(to), 1) * b_h;
  }
  at::Tensor ratio(float from, float before) const { return (half_log_snr(before) - half_log_snr(from)) / h; }
};

float value(const at::Tensor& tensor) {
  return tensor.item<float>();
}

/// rho of the corrector of order 2: R rho = b with R = [[1, 1], [rk, 1]] and b_k = k! phi_k(-h) / B(h).
at::Tensor corrector_weights(const Move& move, const at::Tensor& rk) {
  const at::Tensor hh = -move.h;
  at::Tensor h_phi_k = move.b_h / hh - 1;
  const at::Tensor b_1 = h_phi_k / move.b_h;
  h_phi_k = h_phi_k / hh - 0.5;
  const at::Tensor b_2 = h_phi_k * 2 / move.b_h;
  const at::Tensor row = at::stack({rk, at::ones({})});
  return at::linalg_solve(at::stack({at::ones({2}), row}), at::stack({b_1, b_2}));
}

}  // namespace

UniPc::UniPc(Schedule schedule)
    : schedule_(std::move(schedule)), position_(static_cast<std::int64_t>(schedule_.timesteps.size())) {}

/// Order 1 to begin with, for want of history, and at the end, where a step to sigma 0 allows no more.
std::int64_t UniPc::order(std::int64_t i) const {
  return std::min({std::int64_t{2}, position_.steps() - i, i + 1});
}

at::Tensor UniPc::predict(const at::Tensor& x, std::int64_t i) const {
  const auto at_step = static_cast<std::size_t>(i);
  const float from = schedule_.sigmas[at_step];
  const Move move(from, schedule_.sigmas[at_step + 1]);
  at::Tensor next = x * value(move.keep);
  next.sub_(x0_ * value(move.toward_x0));
  if (order(i) == 1) return next;
  const at::Tensor rk = move.ratio(from, schedule_.sigmas[at_step - 1]);
  const at::Tensor slope = (previous_x0_ - x0_).div_(value(rk));
  return next.sub_(slope.mul_(0.5).mul_(value(move.toward_x0)));
}

at::Tensor UniPc::correct(const at::Tensor& x0, std::int64_t i) const {
  const auto at_step = static_cast<std::size_t>(i);
  const float from = schedule_.sigmas[at_step - 1];
  const Move move(from, schedule_.sigmas[at_step]);
  at::Tensor next = last_sample_ * value(move.keep);
  next.sub_(x0_ * value(move.toward_x0));
  at::Tensor correction = x0 - x0_;
  if (order(i - 1) == 1) {
    correction.mul_(0.5);
  } else {
    const at::Tensor rk = move.ratio(from, schedule_.sigmas[at_step - 2]);
    const at::Tensor rho = corrector_weights(move, rk);
    correction.mul_(value(rho[1])).add_((previous_x0_ - x0_).div_(value(rk)).mul_(value(rho[0])));
  }
  return next.sub_(correction.mul_(value(move.toward_x0)));
}

at::Tensor UniPc::step(const at::Tensor& model_output, std::int64_t i, const at::Tensor& sample) {
  position_.expect(i);
  const float sigma = schedule_.sigmas[static_cast<std::size_t>(i)];
  at::Tensor x0 = sample - model_output.to(at::kFloat) * sigma;
  at::Tensor corrected = i > 0 ? correct(x0, i) : sample;
  previous_x0_ = std::move(x0_);
  x0_ = std::move(x0);
  last_sample_ = std::move(corrected);
  at::Tensor next = predict(last_sample_, i);
  position_.advance();
  return next;
}

SamplerState UniPc::save() const {
  SamplerState state{position_.next(), {}};
  if (position_.next() > 0) state.tensors = {{"last_sample", last_sample_}, {"x0", x0_}};
  if (position_.next() > 1) state.tensors.emplace("previous_x0", previous_x0_);
  return state;
}

void UniPc::restore(const SamplerState& state) {
  RunPosition position = position_;
  position.restore(state.next_step);
  last_sample_ = saved_tensor(state, "last_sample", state.next_step > 0);
  x0_ = saved_tensor(state, "x0", state.next_step > 0);
  previous_x0_ = saved_tensor(state, "previous_x0", state.next_step > 1);
  position_ = position;
}

std::vector<double> unipc_sigmas(const ScheduleSettings& settings, double train_steps) {
  std::vector<double> sigmas = linspace(1, 1 / train_steps, settings.steps + 1);
  sigmas.pop_back();
  for (double& sigma : sigmas) sigma = shifted(sigma, settings.flow_shift);
  return sigmas;
}

}  // namespace nightreel::sample

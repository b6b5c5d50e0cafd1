// B batch, C channels, F frames, Y rows, X columns of the latents; T rows of a prompt, E width of the text encoder.
#include "nightreel/pipeline/denoise.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "pipeline/parallel_plan.h"

namespace nightreel::pipeline {

namespace {

using base::Error;
using base::ErrorKind;

/// One sum instead of a look at every element: it is finite only where all are (or where they are beyond all use).
void check_finite(const at::Tensor& latents, std::int64_t done, std::int64_t steps) {
  if (std::isfinite(latents.sum().item<float>())) return;
  throw Error(ErrorKind::numeric,
              "the latents are not finite after step " + std::to_string(done) + " of " + std::to_string(steps));
}

/// `state` must be float32 throughout and of this video's size: it may come from a file.
void check_state(const DenoiseState& state, at::IntArrayRef shape_1CFYX) {
  const auto check = [&](const std::string& name, const at::Tensor& tensor, at::IntArrayRef shape) {
    if (tensor.defined() && tensor.scalar_type() == at::kFloat && tensor.sizes() == shape) return;
    throw Error(ErrorKind::storage, "saved state: " + base::printable(name) + " does not fit the video's size");
  };
  check("latents", state.latents_CFYX, shape_1CFYX.slice(1));
  for (const auto& [name, tensor] : state.sampler.tensors) check(name, tensor, shape_1CFYX);
}

sample::SamplerState moved(const sample::SamplerState& state, at::Device device) {
  sample::SamplerState copy{state.next_step, {}};
  for (const auto& [name, tensor] : state.tensors) copy.tensors.emplace(name, tensor.to(device));
  return copy;
}

}  // namespace

bool is_guided(const settings::Settings& settings) {
  return settings.guidance_scale > 1;
}

/// One run: the transformers with the prompts that they were told, and the guidance between them.
class Denoiser::Run {
 public:
  Run(const Denoiser& denoiser, const DenoiseRequest& request, const base::CancelToken& cancel, ParallelPlan* parallel)
      : denoiser_(denoiser),
        parallel_(parallel),
        request_(request),
        pinned_(request.image.latents_1CFYX.defined() && denoiser.options_.card.expand_timesteps()),
        cancel_(cancel) {
    const at::Tensor& pictures_1CFYX = request.image.latents_1CFYX;
    if (pictures_1CFYX.defined()) image_1CFYX_ = pictures_1CFYX.to(denoiser.options_.device);
  }

  /// The velocity at `timestep`, guided, float32.
  at::Tensor velocity(const at::Tensor& latents_1CFYX, float timestep) {
    const bool high = denoiser_.is_high(request_.settings, timestep);
    use(high);
    const at::Tensor time = at::full({1}, timestep, at::kFloat);
    const at::Tensor first_time = pinned_ ? at::zeros({1}, at::kFloat) : at::Tensor();
    const at::Tensor input_1CFYX = input(latents_1CFYX);
    const bool halves = in_halves(scale(high));
    const model::SequenceParallel alone;
    const model::SequenceParallel& sequence = parallel_ ? parallel_->sequence(halves) : alone;
    std::vector<at::Tensor> answers;
    for (const model::TransformerText& text : texts_) {
      if (!parallel_) cancel_.throw_if_cancelled();  // a group agrees on it between two steps
      answers.push_back(expert_->forward(input_1CFYX, time, text, first_time, sequence).to(at::kFloat));
    }
    if (!guided(scale(high))) return answers[0];
    if (halves) answers[0] = parallel_->exchange(answers[0]);
    const at::Tensor answers_BCFYX = answers.size() == 1 ? answers[0] : at::cat(answers);
    const at::Tensor prompt = answers_BCFYX.slice(0, 0, 1);
    const at::Tensor negative = answers_BCFYX.slice(0, 1, 2);
    return negative + (prompt - negative).mul_(scale(high));
  }

  /// The latents with the picture that is given in place of their first frame.
  at::Tensor pin(const at::Tensor& latents_1CFYX) const {
    return pinned_ ? at::cat({image_1CFYX_, latents_1CFYX.slice(2, 1)}, 2) : latents_1CFYX;
  }

 private:
  at::Tensor input(const at::Tensor& latents_1CFYX) const {
    if (pinned_ || !image_1CFYX_.defined()) return pin(latents_1CFYX);
    return at::cat({latents_1CFYX, image_1CFYX_}, 1);
  }

  double scale(bool high) const {
    const settings::Settings& settings = request_.settings;
    return high ? settings.guidance_scale : settings.guidance_scale_2.value_or(settings.guidance_scale);
  }
  /// As in diffusers the first scale alone turns guidance on. A scale of 1 gives the prompt's own velocity: the pass
  /// for the negative prompt would be wasted.
  bool guided(double expert_scale) const { return is_guided(request_.settings) && expert_scale != 1; }

  bool in_halves(double expert_scale) const { return parallel_ && guided(expert_scale) && parallel_->has_halves(); }

  /// Tells the expert the prompts where it does not know them yet. On the CPU both go through as one batch, which
  /// shares the work before the first cross-attention; elsewhere one after the other, which needs half the memory.
  void use(bool high) {
    const model::Transformer& expert = high ? *denoiser_.high_ : *denoiser_.low_;
    const double expert_scale = scale(high);
    if (expert_ == &expert) return;
    expert_ = &expert;
    texts_.clear();
    if (denoiser_.options_.bring) denoiser_.options_.bring(high);
    if (in_halves(expert_scale)) {
      tell(parallel_->takes_negative() ? request_.negative_1TE : request_.prompt_1TE);
      return;
    }
    if (guided(expert_scale) && denoiser_.options_.device.is_cpu()) {
      tell(at::cat({request_.prompt_1TE, request_.negative_1TE}));
      return;
    }
    tell(request_.prompt_1TE);
    if (guided(expert_scale)) tell(request_.negative_1TE);
  }

  void tell(const at::Tensor& text_BTE) {
    texts_.push_back(expert_->prepare_text(text_BTE, denoiser_.keep_keys_, request_.image.embeds_NTE));
  }

  const Denoiser& denoiser_;
  ParallelPlan* parallel_;
  const DenoiseRequest& request_;
  at::Tensor image_1CFYX_;  // on the device
  bool pinned_;
  base::CancelToken cancel_;
  const model::Transformer* expert_ = nullptr;
  std::vector<model::TransformerText> texts_;
};

Denoiser::Denoiser(std::unique_ptr<model::Transformer> high, std::unique_ptr<model::Transformer> low,
                   const DenoiserOptions& options)
    : high_(std::move(high)),
      low_(std::move(low)),
      options_(options),
      keep_keys_(options.keep_keys.value_or(!options.device.is_cuda())) {}

void Denoiser::check(const settings::Settings& settings) const {
  options_.card.check(settings);
  if (!std::isfinite(settings.guidance_scale) || !std::isfinite(settings.guidance_scale_2.value_or(0))) {
    throw Error(ErrorKind::job, "guidance_scale: must be a finite number");
  }
  new_sampler(settings);
}

void Denoiser::check_condition(const settings::Settings& settings, const ImageCondition& image) const {
  if (settings.image.empty() && !image.latents_1CFYX.defined()) return;
  std::vector<std::int64_t> shape = latent_shape(settings);
  if (options_.card.expand_timesteps()) {
    shape[2] = 1;
  } else {
    shape[1] = options_.card.condition_channels();
  }
  const bool wants_embeds = high_->config().image_dim > 0;
  if (!settings.image.empty() && image.latents_1CFYX.defined() && image.latents_1CFYX.sizes() == shape &&
      image.embeds_NTE.defined() == wants_embeds) {
    return;
  }
  throw Error(ErrorKind::internal, "denoise: the pictures' latents are missing or do not fit the settings");
}

void Denoiser::gather_over(comm::Communicator* group) const {
  for (const auto& expert : {high_.get(), low_.get()}) {
    if (expert != nullptr) expert->gather_over(group);
  }
}

/// The comparison is diffusers': a float32 tensor against boundary_ratio * num_train_timesteps.
bool Denoiser::is_high(const settings::Settings& settings, float timestep) const {
  if (!settings.boundary_ratio) return true;
  const double boundary = *settings.boundary_ratio * static_cast<double>(options_.card.scheduler.num_train_timesteps);
  return timestep >= static_cast<float>(boundary);
}

std::int64_t Denoiser::high_steps(const settings::Settings& settings) const {
  const auto sampler = new_sampler(settings);
  const auto& timesteps = sampler->timesteps();
  return std::count_if(timesteps.begin(), timesteps.end(), [&](float timestep) { return is_high(settings, timestep); });
}

std::unique_ptr<sample::Sampler> Denoiser::new_sampler(const settings::Settings& settings) const {
  const sample::ScheduleSettings wanted{sample::method_of(settings.sampler), settings.num_inference_steps,
                                        settings.flow_shift, settings.sigmas};
  return sample::make_sampler(wanted.method, make_schedule(wanted, options_.card.scheduler.num_train_timesteps));
}

std::vector<std::int64_t> Denoiser::latent_shape(const settings::Settings& settings) const {
  std::vector<std::int64_t> shape = options_.card.latent_shape(settings);
  shape.insert(shape.begin(), 1);
  return shape;
}

/// As diffusers' randn_tensor with a CPU generator: drawn whole, in float32.
at::Tensor Denoiser::start_noise(const settings::Settings& settings) const {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(settings.seed);
  return at::randn(latent_shape(settings), generator, at::TensorOptions(at::kFloat));
}

at::Tensor Denoiser::first_latents(const DenoiseRequest& request) const {
  const auto& resume = request.resume;
  return (resume ? resume->latents_CFYX.unsqueeze(0) : start_noise(request.settings)).to(options_.device);
}

Denoised Denoiser::run(const DenoiseRequest& request, const DenoiseObserver& observer, ParallelPlan* parallel) const {
  const c10::InferenceMode inference;
  const base::Stopwatch stopwatch;
  check(request.settings);
  check_condition(request.settings, request.image);
  const auto sampler = new_sampler(request.settings);
  if (request.resume) {
    check_state(*request.resume, latent_shape(request.settings));
    sampler->restore(moved(request.resume->sampler, options_.device));
  }
  at::Tensor latents_1CFYX = first_latents(request);

  const std::int64_t first_step = request.resume ? request.resume->sampler.next_step : 0;
  if (parallel) parallel->require_same(request.settings, first_step);
  Run run(*this, request, observer.cancel, parallel);
  const auto steps = static_cast<std::int64_t>(sampler->timesteps().size());
  for (std::int64_t i = first_step; i < steps; ++i) {
    const at::Tensor velocity = run.velocity(latents_1CFYX, sampler->timesteps()[static_cast<std::size_t>(i)]);
    latents_1CFYX = sampler->step(velocity, i, latents_1CFYX);
    check_finite(latents_1CFYX, i + 1, steps);
    AfterStep then = observer.on_step ? observer.on_step(i + 1, steps) : AfterStep::go_on;
    if (parallel) then = parallel->agree(then, observer.cancel);
    if (then == AfterStep::go_on) continue;
    if (observer.save) observer.save({latents_1CFYX[0].cpu(), moved(sampler->save(), at::kCPU)});
    if (then == AfterStep::pause) return {{}, first_step, stopwatch.seconds()};
    if (then == AfterStep::save_and_stop) {
      throw Error(ErrorKind::interrupted, "stopped after step " + std::to_string(i + 1));
    }
  }
  return {run.pin(latents_1CFYX)[0].cpu(), first_step, stopwatch.seconds()};
}

}  // namespace nightreel::pipeline

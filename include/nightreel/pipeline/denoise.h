// From a prompt's embeddings and a seed to the latents of a video: guidance, the two experts, the sampler's steps.
//
// A Denoiser owns the transformers; one thread at a time. It follows diffusers 0.42.1, WanPipeline.__call__
// (pipelines/wan/pipeline_wan.py). Settings that the model cannot do throw base::Error{job} naming them, latents that
// are not finite Error{numeric}, a cancelled run Error{interrupted}. CPU threads are the caller's choice
// (at::set_num_threads).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "nightreel/base/cancel.h"
#include "nightreel/job/settings.h"
#include "nightreel/model/transformer.h"
#include "nightreel/sample/sampler.h"

namespace nightreel::pipeline {

/// A run between two steps. Tensors are float32 on the CPU, latents [C, F, Y, X]; a run that goes on from here gives
/// the same bits as one that was never stopped.
struct DenoiseState {
  at::Tensor latents_CFYX;
  sample::SamplerState sampler;
};

/// What the caller wants done after a step.
enum class AfterStep { go_on, save, save_and_stop };

struct DenoiseObserver {
  /// Called after each step with the number of steps done and of all; may be empty.
  std::function<AfterStep(std::int64_t done, std::int64_t steps)> on_step;
  /// Receives the state that on_step asked for. After save_and_stop the run throws Error{interrupted}.
  std::function<void(const DenoiseState&)> save;
  /// Looked at before every pass through a transformer.
  base::CancelToken cancel;
};

struct Denoised {
  at::Tensor latents_CFYX;      // float32 on the CPU, as diffusers' output_type="latent"
  std::int64_t first_step = 0;  // steps that the resumed state had behind it
  double seconds = 0;
};

/// How a video's pixels and latents relate; the VAE's.
struct LatentScale {
  std::int64_t frames = 4;  // pixel frames a latent frame, after the first
  std::int64_t side = 8;    // pixels a latent row or column
};

/// Whether a run looks at the negative prompt: diffusers' do_classifier_free_guidance.
bool is_guided(const job::Settings& settings);

class Denoiser {
 public:
  /// `low` is the expert for low noise (transformer_2) or null. keep_keys: see model::Transformer::prepare_text;
  /// absent: on the CPU, where memory is plenty and arithmetic dear.
  Denoiser(std::unique_ptr<model::Transformer> high, std::unique_ptr<model::Transformer> low,
           const sample::SchedulerConfig& scheduler, const LatentScale& scale, at::Device device,
           std::optional<bool> keep_keys = std::nullopt);

  /// Throws what run() would throw for the settings alone.
  void check(const job::Settings& settings) const;

  /// Embeddings [1, T, E] of the prompt and, where is_guided(), of the negative prompt (else unused).
  Denoised run(const job::Settings& settings, const at::Tensor& prompt_1TE, const at::Tensor& negative_1TE,
               const DenoiseObserver& observer, const std::optional<DenoiseState>& resume = std::nullopt) const;

 private:
  class Run;
  std::unique_ptr<sample::Sampler> new_sampler(const job::Settings& settings) const;
  std::vector<std::int64_t> latent_shape(const job::Settings& settings) const;
  at::Tensor start_noise(const job::Settings& settings) const;

  std::unique_ptr<model::Transformer> high_;
  std::unique_ptr<model::Transformer> low_;
  sample::SchedulerConfig scheduler_;
  LatentScale scale_;
  at::Device device_;
  bool keep_keys_;
};

}  // namespace nightreel::pipeline

// From a prompt's embeddings and a seed to the latents of a video: guidance, the two experts, the sampler's steps.
//
// A Denoiser owns the transformers; one thread at a time. It follows diffusers 0.42.1, WanPipeline.__call__ and
// WanImageToVideoPipeline.__call__ (pipelines/wan/pipeline_wan.py, pipeline_wan_i2v.py). Settings that the model cannot
// do throw base::Error{job} naming them, latents that are not finite Error{numeric}, a cancelled run
// Error{interrupted}. CPU threads are the caller's choice (at::set_num_threads).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "nightreel/base/cancel.h"
#include "nightreel/card/card.h"
#include "nightreel/model/transformer.h"
#include "nightreel/sample/sampler.h"
#include "nightreel/settings/settings.h"

namespace nightreel::pipeline {

class ParallelPlan;

/// A run between two steps. Tensors are float32 on the CPU, latents [C, F, Y, X]; a run that goes on from here gives
/// the same bits as one that was never stopped.
struct DenoiseState {
  at::Tensor latents_CFYX;
  sample::SamplerState sampler;
};

/// What the caller wants done after a step. `pause` saves and ends the run in good order, to go on another time.
enum class AfterStep { go_on, save, save_and_stop, pause };

/// What a video's pictures make of the transformer's input; undefined: no pictures. float32, any device.
struct ImageCondition {
  /// Of as many channels as the transformer takes beside the noisy latents: mask and picture latents of every latent
  /// frame, joined to them. Or of the latents' channels and one frame, which stands in place of theirs, noise-free.
  at::Tensor latents_1CFYX;
  /// The image encoder's vectors of each picture, where the transformer wants them (image_dim).
  at::Tensor embeds_NTE;
};

/// What a run is made from.
struct DenoiseRequest {
  settings::Settings settings;
  at::Tensor prompt_1TE;                    // embeddings [1, T, E]
  at::Tensor negative_1TE = {};             // likewise, where is_guided(); else unused
  ImageCondition image = {};                // there where the settings name pictures, and of their size
  std::optional<DenoiseState> resume = {};  // to go on from; none: from noise
};

struct DenoiseObserver {
  /// Called after each step with the number of steps done and of all; may be empty.
  std::function<AfterStep(std::int64_t done, std::int64_t steps)> on_step;
  /// Receives the state that on_step asked for. After save_and_stop the run throws Error{interrupted}.
  std::function<void(const DenoiseState&)> save;
  /// Looked at before every pass through a transformer.
  base::CancelToken cancel;
};

struct Denoised {
  at::Tensor latents_CFYX;      // float32 on the CPU, as diffusers' output_type="latent"; undefined after a pause
  std::int64_t first_step = 0;  // steps that the resumed state had behind it
  double seconds = 0;
};

struct DenoiserOptions {
  card::Card card;  // of the checkpoint: its rules, the VAE's scale, the scheduler's training steps
  at::Device device = at::kCPU;
  /// See model::Transformer::prepare_text; absent: on the CPU, where memory is plenty and arithmetic dear.
  std::optional<bool> keep_keys;
  /// Called before an expert computes that did not compute the step before: its weights may be elsewhere. May be empty.
  std::function<void(bool high)> bring;
};

/// Whether a run looks at the negative prompt: diffusers' do_classifier_free_guidance.
bool is_guided(const settings::Settings& settings);

class Denoiser {
 public:
  /// `low` is the expert for low noise (transformer_2) or null.
  Denoiser(std::unique_ptr<model::Transformer> high, std::unique_ptr<model::Transformer> low,
           const DenoiserOptions& options);

  /// Throws what run() would throw for the settings alone.
  void check(const settings::Settings& settings) const;

  /// Steps of the expert for high noise, which come first; all of them where there is one expert.
  std::int64_t high_steps(const settings::Settings& settings) const;

  /// Pictures' latents that are missing or do not fit the settings are an Error{internal}. With `parallel` all ranks of
  /// its group make the same call and have the same latents in the end; what one rank's observer wants after a step, or
  /// a cancelled one, counts for all.
  Denoised run(const DenoiseRequest& request, const DenoiseObserver& observer = {},
               ParallelPlan* parallel = nullptr) const;

  /// Where sharded experts gather their blocks from (model::Transformer::gather_over).
  void gather_over(comm::Communicator* group) const;
  /// Null where there is no such one.
  model::Transformer* expert(bool high) const { return high ? high_.get() : low_.get(); }

  const card::Card& card() const { return options_.card; }
  const card::TransformerConfig& config() const { return high_->config(); }

 private:
  class Run;
  std::unique_ptr<sample::Sampler> new_sampler(const settings::Settings& settings) const;
  bool is_high(const settings::Settings& settings, float timestep) const;
  void check_condition(const settings::Settings& settings, const ImageCondition& image) const;
  at::Tensor first_latents(const DenoiseRequest& request) const;
  std::vector<std::int64_t> latent_shape(const settings::Settings& settings) const;
  at::Tensor start_noise(const settings::Settings& settings) const;

  std::unique_ptr<model::Transformer> high_;
  std::unique_ptr<model::Transformer> low_;
  DenoiserOptions options_;
  bool keep_keys_;
};

}  // namespace nightreel::pipeline

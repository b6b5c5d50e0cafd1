// T rows of a prompt, E width of the text encoder; C channels, F frames, Y rows, X columns of the latents; H, W of the
// pictures; S tokens of a prompt.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/inputs.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/bench/piece.h"
#include "nightreel/job/checkpoint.h"
#include "nightreel/job/model_card.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/model/weights.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/pipeline/pipeline.h"

namespace nightreel::bench {

namespace {

constexpr double kTimestep = 612.5;  // one that is not whole, in the middle

std::vector<std::int64_t> latent_shape(const Workload& workload, const job::ModelCard& card, std::int64_t channels) {
  const auto& settings = workload.settings;
  return {1, channels, (settings.num_frames - 1) / card.vae_temporal + 1, settings.height / card.vae_spatial,
          settings.width / card.vae_spatial};
}

model::Transformer load_transformer(const std::string& folder, const Workload& workload) {
  const std::string path = folder + "/config.json";
  model::WeightMap weights = model::WeightMap::open(folder);
  model::Transformer transformer(model::parse_transformer_config(job::checkpoint_json(path).json, path), weights,
                                 workload.device, workload.dtype);
  weights.expect_all_taken();
  return transformer;
}

pipeline::Pipeline load_pipeline(const Workload& workload) {
  pipeline::PipelineOptions options;
  options.device = workload.device;
  options.dtype = workload.dtype;
  return pipeline::Pipeline::load(workload.model, options);
}

/// A prompt through the text encoder.
class Text final : public Piece {
 public:
  Text(const Workload& workload, const Inputs& inputs)
      : encoder_(model::Umt5Encoder::load(workload.model + "/text_encoder", workload.device, workload.dtype)),
        tokens_(inputs.tokens("ids", workload.tokens, encoder_.config().vocab_size)) {}

  double run() override {
    const base::Stopwatch watch;
    hidden_1SE_ = encoder_.encode(tokens_).to(at::kCPU);
    return watch.seconds();
  }
  at::Tensor result() override { return hidden_1SE_.to(at::kFloat); }

 private:
  model::Umt5Encoder encoder_;
  std::vector<std::int64_t> tokens_;
  at::Tensor hidden_1SE_;
};

/// One pass through the transformer from a text of 512 rows, nothing kept from an earlier pass.
class Pass final : public Piece {
 public:
  Pass(const Workload& workload, const Inputs& inputs, const job::ModelCard& card)
      : transformer_(load_transformer(workload.model + "/" + card.experts.front(), workload)),
        keep_keys_(workload.device.is_cpu()),
        latents_1CFYX_(inputs.tensor("latents", latent_shape(workload, card, transformer_.config().in_channels))),
        text_1TE_(inputs.embeddings("embeds", transformer_.config().text_dim, pipeline::kTextRows)),
        timestep_1_(at::full({1}, kTimestep, at::kFloat)) {}

  double run() override {
    const c10::InferenceMode inference;
    const base::Stopwatch watch;
    const model::TransformerText text = transformer_.prepare_text(text_1TE_, keep_keys_);
    velocity_1CFYX_ = transformer_.forward(latents_1CFYX_, timestep_1_, text).to(at::kCPU);
    return watch.seconds();
  }
  at::Tensor result() override { return velocity_1CFYX_.to(at::kFloat); }

 private:
  model::Transformer transformer_;
  bool keep_keys_;
  at::Tensor latents_1CFYX_, text_1TE_, timestep_1_, velocity_1CFYX_;
};

/// A guided denoising run, told by the step: both passes, guidance, sampler, and the prompts made ready once.
class Step final : public Piece {
 public:
  Step(const Workload& workload, const Inputs& inputs, const job::ModelCard& card)
      : pipeline_(load_pipeline(workload)), settings_(workload.settings) {
    const std::int64_t width = card.transformer.text_dim;
    prompt_1TE_ = inputs.embeddings("embeds", width, workload.tokens).to(workload.device, workload.dtype);
    negative_1TE_ = inputs.embeddings("negative_embeds", width, workload.tokens).to(workload.device, workload.dtype);
  }

  double run() override {
    const base::Stopwatch watch;
    latents_CFYX_ = pipeline_.denoise(settings_, prompt_1TE_, negative_1TE_, {}).latents_CFYX;
    return watch.seconds() / static_cast<double>(settings_.num_inference_steps);
  }
  at::Tensor result() override { return latents_CFYX_; }

 private:
  pipeline::Pipeline pipeline_;
  job::Settings settings_;
  at::Tensor prompt_1TE_, negative_1TE_, latents_CFYX_;
};

/// Latents to the pixels of the whole video.
class VaeDecode final : public Piece {
 public:
  VaeDecode(const Workload& workload, const Inputs& inputs, const job::ModelCard& card)
      : vae_(model::Vae::load(workload.model + "/vae", workload.device, workload.dtype)),
        latents_1CFYX_(inputs.tensor("latents", latent_shape(workload, card, card.z_dim))) {}

  double run() override {
    const base::Stopwatch watch;
    pixels_13FHW_ = vae_.decode(latents_1CFYX_).to(at::kCPU);
    return watch.seconds();
  }
  at::Tensor result() override { return pixels_13FHW_.to(at::kFloat); }

 private:
  model::Vae vae_;
  at::Tensor latents_1CFYX_, pixels_13FHW_;
};

/// The whole checkpoint, from its files to a pipeline that can be used; the result is a video made with it.
class Load final : public Piece {
 public:
  Load(const Workload& workload, const Inputs& inputs) : workload_(workload) {
    const std::string path = workload.model + "/text_encoder/config.json";
    const std::int64_t vocabulary = model::parse_umt5_config(job::checkpoint_json(path).json, path).vocab_size;
    prompt_ = inputs.tokens("ids", workload.tokens, vocabulary);
    negative_ = inputs.tokens("negative_ids", workload.tokens, vocabulary);
  }

  double run() override {
    pipeline_.reset();  // the last one's end is not this one's beginning
    const base::Stopwatch watch;
    pipeline_ = std::make_unique<pipeline::Pipeline>(load_pipeline(workload_));
    return watch.seconds();
  }

  /// Pictures [F, H, W, 3] in 0..1.
  at::Tensor result() override {
    const at::Tensor prompt_1TE = pipeline_->encode_prompt(prompt_).embeds_1TE;
    const at::Tensor negative_1TE = pipeline_->encode_prompt(negative_).embeds_1TE;
    const auto denoised = pipeline_->denoise(workload_.settings, prompt_1TE, negative_1TE, {});
    std::vector<at::Tensor> pieces_FHW3;
    pipeline_->decode(denoised.latents_CFYX, [&](const at::Tensor& piece) { pieces_FHW3.push_back(piece); });
    return at::cat(pieces_FHW3).to(at::kFloat).div_(255);
  }

 private:
  Workload workload_;
  std::vector<std::int64_t> prompt_, negative_;
  std::unique_ptr<pipeline::Pipeline> pipeline_;
};

}  // namespace

void use_threads(int threads) {
  at::set_num_threads(threads);
}

at::Tensor pictures(const std::array<std::int64_t, 4>& shape, std::span<const std::uint8_t> rgb) {
  at::Tensor bytes_FHW3 = at::empty(shape, at::kByte);
  std::copy(rgb.begin(), rgb.end(), bytes_FHW3.mutable_data_ptr<std::uint8_t>());
  return bytes_FHW3.to(at::kFloat).div_(255);
}

const std::vector<PieceKind>& piece_kinds() {
  static const std::vector<PieceKind> kinds{{"text", "prompt", "hidden", 1e-5, 0.03},
                                            {"pass", "pass", "velocity", 1e-5, 0.03},
                                            {"step", "step", "latents", 2e-4, 0.2},
                                            {"vae-decode", "video", "pixels", 1e-5, 0.12},
                                            {"load", "model", "frames", 1.0 / 255, 0.2}};
  return kinds;
}

std::unique_ptr<Piece> make_piece(const std::string& name, const Workload& workload, const Reference* reference) {
  const Inputs inputs(name, reference);
  const job::ModelCard card = job::read_model_card(workload.model);
  if (name == "text") return std::make_unique<Text>(workload, inputs);
  if (name == "pass") return std::make_unique<Pass>(workload, inputs, card);
  if (name == "step") return std::make_unique<Step>(workload, inputs, card);
  if (name == "vae-decode") return std::make_unique<VaeDecode>(workload, inputs, card);
  if (name == "load") return std::make_unique<Load>(workload, inputs);
  throw base::Error(base::ErrorKind::usage, "no piece " + base::printable(name));
}

}  // namespace nightreel::bench

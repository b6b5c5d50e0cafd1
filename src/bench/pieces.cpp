// T rows of a prompt, E width of the text encoder; C channels, F frames, Y rows, X columns of the latents; H, W of the
// pictures; S tokens of a prompt.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/arithmetic.h"
#include "bench/inputs.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/bench/piece.h"
#include "nightreel/bench/random_weights.h"
#include "nightreel/card/card.h"
#include "nightreel/memory/plan.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/pipeline/frames.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/weights/weights.h"

namespace nightreel::bench {

namespace {

constexpr double kTimestep = 612.5;  // one that is not whole, in the middle

/// Frames, rows, columns.
std::array<std::int64_t, 3> latent_size(const Workload& workload, const card::Card& card) {
  const std::vector<std::int64_t> shape = card.latent_shape(workload.settings);
  return {shape[1], shape[2], shape[3]};
}

std::vector<std::int64_t> latent_shape(const Workload& workload, const card::Card& card, std::int64_t channels) {
  const auto [frames, rows, columns] = latent_size(workload, card);
  return {1, channels, frames, rows, columns};
}

/// Calls `load` with where tensors come from: null for the files.
template <class Load>
auto with_reader(const Workload& workload, const Load& load) {
  RandomWeights random(workload.device);
  return load(workload.random ? &random : nullptr);
}

model::Transformer load_transformer(const card::Card& card, const Workload& workload) {
  return with_reader(workload, [&](weights::TensorReader* reader) {
    weights::WeightMap weights = weights::WeightMap::open(card.folder + "/" + card.experts.front(), reader);
    model::Transformer transformer(card.transformer(), weights, {workload.device, workload.dtype});
    weights.expect_all_taken();
    return transformer;
  });
}

/// As a renderer loads it.
pipeline::Pipeline load_pipeline(const card::Card& card, const Workload& workload) {
  return with_reader(workload, [&](weights::TensorReader* reader) {
    pipeline::PipelineOptions options;
    options.device = workload.device;
    options.dtype = workload.dtype;
    options.plan = workload.plan;
    options.reader = reader;
    return pipeline::Pipeline::load(card, options);
  });
}

AttentionShape self_attention(const card::TransformerConfig& config, const std::array<std::int64_t, 3>& latents,
                              at::ScalarType dtype) {
  return {config.num_attention_heads, tokens_of(config, latents), config.attention_head_dim, dtype, false};
}

/// What the settings want of pictures, made of nothing.
pipeline::ImageCondition picture_condition(const settings::Settings& settings, const Inputs& inputs,
                                           const pipeline::Pipeline& pipeline) {
  if (settings.image.empty()) return {};
  pipeline::Pictures pictures;
  pictures.first_HW3 = inputs.picture("first", settings.height, settings.width);
  const bool has_last = !settings.last_image.empty();
  if (has_last) pictures.last_HW3 = inputs.picture("last", settings.height, settings.width);
  if (const auto square = pipeline.clip_square()) {
    pictures.clip_first_SS3 = inputs.picture("clip_first", square->side, square->side);
    if (has_last) pictures.clip_last_SS3 = inputs.picture("clip_last", square->side, square->side);
  }
  return pipeline.encode_pictures(settings, pictures);
}

/// The passes through a transformer that a step has, on average: guidance takes two, where its expert's scale is not 1.
double passes_a_step(const pipeline::Pipeline& pipeline, const settings::Settings& settings) {
  const auto passes = [&](double scale) { return pipeline::is_guided(settings) && scale != 1 ? 2.0 : 1.0; };
  const double steps = static_cast<double>(settings.num_inference_steps);
  const double high = static_cast<double>(pipeline.high_steps(settings)) / steps;
  return high * passes(settings.guidance_scale) +
         (1 - high) * passes(settings.guidance_scale_2.value_or(settings.guidance_scale));
}

/// A prompt through the text encoder.
class Text final : public Piece {
 public:
  Text(const Workload& workload, const Inputs& inputs, const card::Card& card)
      : encoder_(with_reader(workload,
                             [&](weights::TensorReader* reader) {
                               auto weights = weights::WeightMap::open(workload.model + "/text_encoder", reader);
                               return model::Umt5Encoder::load(card.text_encoder, std::move(weights), workload.device,
                                                               workload.dtype);
                             })),
        dtype_(workload.dtype),
        tokens_(inputs.tokens("ids", workload.tokens, encoder_.config().vocab_size)) {}

  double run() override {
    const base::Stopwatch watch;
    hidden_1SE_ = encoder_.encode(tokens_).to(at::kCPU);
    return watch.seconds();
  }
  at::Tensor result() override { return hidden_1SE_.to(at::kFloat); }
  PieceFacts facts() const override {
    const card::Umt5Config& config = encoder_.config();
    const auto count = static_cast<std::int64_t>(tokens_.size());
    return {true, std::nullopt, AttentionShape{config.num_heads, count, config.d_kv, dtype_, true},
            text_operations(config, count)};
  }

 private:
  model::Umt5Encoder encoder_;
  at::ScalarType dtype_;
  std::vector<std::int64_t> tokens_;
  at::Tensor hidden_1SE_;
};

/// One pass through the transformer from a text of 512 rows, nothing kept from an earlier pass.
class Pass final : public Piece {
 public:
  Pass(const Workload& workload, const Inputs& inputs, const card::Card& card)
      : transformer_(load_transformer(card, workload)),
        keep_keys_(workload.device.is_cpu()),
        dtype_(workload.dtype),
        latents_1CFYX_(inputs.tensor("latents", latent_shape(workload, card, transformer_.config().in_channels))),
        text_1TE_(inputs.embeddings("embeds", transformer_.config().text_dim, card::kTextLen)),
        timestep_1_(at::full({1}, kTimestep, at::kFloat)) {}

  double run() override {
    const c10::InferenceMode inference;
    const base::Stopwatch watch;
    const model::TransformerText text = transformer_.prepare_text(text_1TE_, keep_keys_);
    velocity_1CFYX_ = transformer_.forward(latents_1CFYX_, timestep_1_, text).to(at::kCPU);
    return watch.seconds();
  }
  at::Tensor result() override { return velocity_1CFYX_.to(at::kFloat); }
  PieceFacts facts() const override {
    const card::TransformerConfig& config = transformer_.config();
    const std::array<std::int64_t, 3> latents{latents_1CFYX_.size(2), latents_1CFYX_.size(3), latents_1CFYX_.size(4)};
    return {true, std::nullopt, self_attention(config, latents, dtype_),
            pass_operations(config, tokens_of(config, latents))};
  }

 private:
  model::Transformer transformer_;
  bool keep_keys_;
  at::ScalarType dtype_;
  at::Tensor latents_1CFYX_, text_1TE_, timestep_1_, velocity_1CFYX_;
};

/// A guided denoising run, told by the step: both passes, guidance, sampler, and the prompts made ready once.
class Step final : public Piece {
 public:
  Step(const Workload& workload, const Inputs& inputs, const card::Card& card)
      : pipeline_(load_pipeline(card, workload)), settings_(workload.settings) {
    const std::int64_t width = card.transformer().text_dim;
    prompt_1TE_ = inputs.embeddings("embeds", width, workload.tokens).to(workload.device, workload.dtype);
    negative_1TE_ = inputs.embeddings("negative_embeds", width, workload.tokens).to(workload.device, workload.dtype);
    image_ = picture_condition(settings_, inputs, pipeline_);
    const card::TransformerConfig& config = card.transformer();
    const auto latents = latent_size(workload, card);
    facts_ = {true, workload.plan, self_attention(config, latents, workload.dtype),
              pass_operations(config, tokens_of(config, latents))};
    if (facts_.operations) *facts_.operations *= passes_a_step(pipeline_, settings_);
  }

  double run() override {
    const base::Stopwatch watch;
    latents_CFYX_ = pipeline_.denoise({settings_, prompt_1TE_, negative_1TE_, image_}).latents_CFYX;
    return watch.seconds() / static_cast<double>(settings_.num_inference_steps);
  }
  at::Tensor result() override { return latents_CFYX_; }
  PieceFacts facts() const override { return facts_; }

 private:
  pipeline::Pipeline pipeline_;
  settings::Settings settings_;
  PieceFacts facts_;
  at::Tensor prompt_1TE_, negative_1TE_, latents_CFYX_;
  pipeline::ImageCondition image_;
};

/// Latents to the frames of the whole video, as the pipeline makes them: in float32 whatever the transformer's dtype,
/// and in tiles where the plan says so. Where a reference is to be compared, which has pixels, they stay pixels.
class VaeDecode final : public Piece {
 public:
  VaeDecode(const Workload& workload, const Inputs& inputs, const card::Card& card)
      : vae_(with_reader(workload,
                         [&](weights::TensorReader* reader) {
                           auto weights = weights::WeightMap::open(workload.model + "/vae", reader);
                           return model::Vae::load(card.vae, std::move(weights), workload.device, at::kFloat);
                         })),
        plan_(workload.plan),
        as_pixels_(inputs.has_reference()),
        latents_1CFYX_(inputs.tensor("latents", latent_shape(workload, card, card.vae.z_dim))) {}

  double run() override {
    const base::Stopwatch watch;
    as_pixels_ ? decode_pixels() : decode_bytes();
    return watch.seconds();
  }

  /// Pixels [1, 3, F, H, W] in -1..1, or pictures [F, H, W, 3] in 0..1.
  at::Tensor result() override { return as_pixels_ ? video_ : video_.to(at::kFloat).div_(255); }

  PieceFacts facts() const override {
    const card::VaeConfig& config = vae_.config();
    const std::array<std::int64_t, 3> latents{latents_1CFYX_.size(2), latents_1CFYX_.size(3), latents_1CFYX_.size(4)};
    auto [frames, rows, columns] = latents;
    if (plan_.tiled.decode) {
      rows = std::min(rows, model::Tiling().height / config.scale_factor_spatial);
      columns = std::min(columns, model::Tiling().width / config.scale_factor_spatial);
    }
    const std::int64_t width = config.decoder_base_dim * config.dim_mult.back();
    return {true, plan_, AttentionShape{1, rows * columns, width, at::kFloat, false},
            decode_operations(config, latents, plan_.tiled.decode)};
  }

 private:
  void decode_pixels() {
    video_ = plan_.tiled.decode ? vae_.decode_tiled(latents_1CFYX_, {}, at::kFloat)
                                : vae_.decode(latents_1CFYX_).to(at::kCPU);
  }

  void decode_bytes() {
    std::vector<at::Tensor> pieces_FHW3;
    pipeline::decode_frames(vae_, latents_1CFYX_[0], {plan_.tiled.decode, nullptr},
                            [&](const at::Tensor& piece) { pieces_FHW3.push_back(piece); });
    video_ = at::cat(pieces_FHW3);
  }

  model::Vae vae_;
  memory::MemoryPlan plan_;
  bool as_pixels_;
  at::Tensor latents_1CFYX_, video_;
};

/// The whole checkpoint, from its files to a pipeline that can be used; the result is a video made with it.
class Load final : public Piece {
 public:
  Load(const Workload& workload, const Inputs& inputs, const card::Card& card)
      : card_(card),
        workload_(workload),
        inputs_(inputs.without_reference()),
        prompt_(inputs.tokens("ids", workload.tokens, card.text_encoder.vocab_size)),
        negative_(inputs.tokens("negative_ids", workload.tokens, card.text_encoder.vocab_size)) {}

  double run() override {
    pipeline_.reset();  // the last one's end is not this one's beginning
    const base::Stopwatch watch;
    pipeline_ = std::make_unique<pipeline::Pipeline>(load_pipeline(card_, workload_));
    synchronise(workload_.device);
    return watch.seconds();
  }

  /// Pictures [F, H, W, 3] in 0..1.
  at::Tensor result() override {
    const at::Tensor prompt_1TE = pipeline_->encode_prompt(prompt_).embeds_1TE;
    const at::Tensor negative_1TE = pipeline_->encode_prompt(negative_).embeds_1TE;
    const auto denoised = pipeline_->denoise(
        {workload_.settings, prompt_1TE, negative_1TE, picture_condition(workload_.settings, inputs_, *pipeline_)});
    std::vector<at::Tensor> pieces_FHW3;
    pipeline_->decode(denoised.latents_CFYX, [&](const at::Tensor& piece) { pieces_FHW3.push_back(piece); });
    return at::cat(pieces_FHW3).to(at::kFloat).div_(255);
  }
  PieceFacts facts() const override { return {true, workload_.plan, std::nullopt, std::nullopt}; }

 private:
  card::Card card_;
  Workload workload_;
  Inputs inputs_;
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
  // The VAE is in float32 beside a transformer in bfloat16 too, but cuDNN may round it to TF32.
  static const std::vector<PieceKind> kinds{{"text", "prompt", "hidden", 1e-5, 0.03},
                                            {"pass", "pass", "velocity", 1e-5, 0.03},
                                            {"step", "step", "latents", 2e-4, 0.2, true},
                                            {"vae-decode", "video", "pixels", 1e-5, 0.02, true},
                                            {"load", "model", "frames", 1.0 / 255, 0.2, true}};
  return kinds;
}

memory::MemoryPlan plan_of(const Workload& workload, std::uint64_t gpu_memory) {
  const at::Device device = workload.device;
  const pipeline::Precision precision = pipeline::precision_on(device, workload.dtype);
  const memory::DeviceMemory memory{pipeline::memory_model(card::read(workload.model), precision),
                                    gpu_memory > 0 ? gpu_memory : pipeline::memory_to_plan_with(device),
                                    {},
                                    device.is_cuda() ? pipeline::host_memory_for(/*renderers=*/1) : 0};
  return memory::fitting_plan(memory, workload.settings);
}

std::unique_ptr<Piece> make_piece(const std::string& name, const Workload& workload, const Reference* reference) {
  const Inputs inputs(name, reference);
  const card::Card card = card::read(workload.model);
  if (name == "text") return std::make_unique<Text>(workload, inputs, card);
  if (name == "pass") return std::make_unique<Pass>(workload, inputs, card);
  if (name == "step") return std::make_unique<Step>(workload, inputs, card);
  if (name == "vae-decode") return std::make_unique<VaeDecode>(workload, inputs, card);
  if (name == "load") return std::make_unique<Load>(workload, inputs, card);
  throw base::Error(base::ErrorKind::usage, "no piece " + base::printable(name));
}

}  // namespace nightreel::bench

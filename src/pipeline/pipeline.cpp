// T rows of a prompt, E width of the text encoder; C channels, F frames, Y rows, X columns of the latents.
#include "nightreel/pipeline/pipeline.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <exception>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/job/lora_set.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/weights/weights.h"
#include "pipeline/parallel_plan.h"
#include "pipeline/picture_condition.h"
#include "pipeline/residency.h"

namespace nightreel::pipeline {

namespace {

using base::Error;
using base::ErrorKind;
using memory::Part;

/// A transformer, and what merges LoRAs into it.
struct Expert {
  std::unique_ptr<model::Transformer> transformer;
  std::unique_ptr<model::LoraMerger> loras;
};

Expert load_transformer(const card::TransformerConfig& config, const std::string& folder,
                        const PipelineOptions& options) {
  weights::WeightMap weights = weights::WeightMap::open(folder, options.reader);
  const model::TransformerOptions wanted{options.device, options.dtype, options.fp8, options.shard};
  auto transformer = std::make_unique<model::Transformer>(config, weights, wanted);
  weights.expect_all_taken();
  weights.read_alone();
  auto loras = std::make_unique<model::LoraMerger>(*transformer, std::move(weights));
  return {std::move(transformer), std::move(loras)};
}

/// The image encoder that the transformer wants to be told by, or null.
std::unique_ptr<model::ClipVision> load_clip(const card::Card& card, const PipelineOptions& options) {
  if (!card.image_encoder) return nullptr;
  auto weights = weights::WeightMap::open(card.folder + "/image_encoder", options.reader);
  return std::make_unique<model::ClipVision>(
      model::ClipVision::load(*card.image_encoder, card.picture, std::move(weights), options.device, options.dtype));
}

template <class Module>
MovingWeights::EachWeight weights_of(Module& module) {
  return [&module](const model::WeightVisitor& visit) { module.each_weight(visit); };
}

/// What the encoder makes of one picture or of both.
at::Tensor clip_embeds(const model::ClipVision& clip, const Pictures& pictures) {
  const std::int64_t side = clip.picture().crop;
  std::vector<at::Tensor> squares;
  for (const at::Tensor& square_SS3 : {pictures.clip_first_SS3, pictures.clip_last_SS3}) {
    if (square_SS3.defined()) squares.push_back(square_SS3);
    if (!square_SS3.defined() || square_SS3.sizes() == at::IntArrayRef{side, side, 3}) continue;
    throw Error(ErrorKind::internal, "encode_pictures: a picture for the image encoder is not of its size");
  }
  if (squares.empty()) throw Error(ErrorKind::internal, "encode_pictures: no picture for the image encoder");
  return clip.encode(at::stack(squares));
}

}  // namespace

Pipeline::Pipeline(const PipelineOptions& options) : options_(options) {}
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline& Pipeline::operator=(Pipeline&&) noexcept = default;
Pipeline::~Pipeline() = default;

Pipeline Pipeline::load(const card::Card& card, const PipelineOptions& options) {
  const c10::InferenceMode inference;
  card::check_supported(card);
  Pipeline pipeline(options);
  const auto timed = [&](const std::string& component, auto load) {
    const base::Stopwatch stopwatch;
    auto loaded = load(card.folder + "/" + component);
    pipeline.load_seconds_[component] = stopwatch.seconds();
    return loaded;
  };

  pipeline.residency_ = std::make_unique<Residency>(options.device);
  Residency& residency = *pipeline.residency_;
  residency.adopt(options.plan);
  pipeline.text_encoder_ = timed("text_encoder", [&](const std::string& folder) {
    auto weights = weights::WeightMap::open(folder, options.reader);
    return std::make_unique<model::Umt5Encoder>(
        model::Umt5Encoder::load(card.text_encoder, std::move(weights), options.device, options.dtype));
  });
  residency.add(Part::text_encoder, weights_of(*pipeline.text_encoder_));
  pipeline.vae_ = timed("vae", [&](const std::string& folder) {
    // In float32 whatever the transformer's: so do the published code and diffusers' examples, and bfloat16 shows.
    auto weights = weights::WeightMap::open(folder, options.reader);
    return std::make_unique<model::Vae>(model::Vae::load(card.vae, std::move(weights), options.device, at::kFloat));
  });
  residency.add(Part::vae, weights_of(*pipeline.vae_));
  std::array<Expert, 2> experts;
  for (std::size_t i = 0; i < card.experts.size(); ++i) {
    experts.at(i) = timed(card.experts[i], [&](const std::string& folder) {
      return load_transformer(card.transformers[i], folder, options);
    });
    residency.add(i == 0 ? Part::transformer : Part::transformer_2, weights_of(*experts.at(i).transformer));
    if (i > 0) continue;
    pipeline.clip_ = load_clip(card, options);
    if (pipeline.clip_) residency.add(Part::image_encoder, weights_of(*pipeline.clip_));
  }
  auto& [high, low] = experts;
  pipeline.loras_ = std::make_unique<ExpertLoras>(std::move(high.loras), std::move(low.loras));
  const DenoiserOptions wanted{card, options.device, options.keep_keys,
                               [&residency, &loras = *pipeline.loras_](bool is_high) {
                                 residency.need({is_high ? Part::transformer : Part::transformer_2});
                                 loras.merge(is_high);
                               }};
  pipeline.denoiser_ = std::make_unique<Denoiser>(std::move(high.transformer), std::move(low.transformer), wanted);
  pipeline.options_.reader = nullptr;
  return pipeline;
}

EncodedPrompt Pipeline::encode_prompt(const std::vector<std::int64_t>& tokens) {
  const c10::InferenceMode inference;
  const base::Stopwatch stopwatch;
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 1 || count > card::kTextLen) {
    throw Error(ErrorKind::internal, "encode_prompt: " + std::to_string(count) + " tokens; 1 to 512 are possible");
  }
  if (!parallel_) return encode_alone(tokens);
  EncodedPrompt encoded;
  encoded.embeds_1TE = at::empty({1, card::kTextLen, denoiser_->config().text_dim},
                                 at::TensorOptions().dtype(options_.dtype).device(options_.device));
  if (parallel_->leads()) encoded = encode_alone(tokens);
  parallel_->group().broadcast(encoded.embeds_1TE, 0);
  encoded.seconds = stopwatch.seconds();
  return encoded;
}

EncodedPrompt Pipeline::encode_alone(const std::vector<std::int64_t>& tokens) {
  const base::Stopwatch stopwatch;
  const auto count = static_cast<std::int64_t>(tokens.size());
  const auto known =
      std::find_if(prompts_.begin(), prompts_.end(), [&](const auto& entry) { return entry.first == tokens; });
  if (known != prompts_.end()) {
    prompts_.splice(prompts_.begin(), prompts_, known);
    return {prompts_.front().second, true, stopwatch.seconds()};
  }
  residency_->need({Part::text_encoder});
  const at::Tensor hidden_1SE = text_encoder_->encode(tokens);
  const at::Tensor embeds_1TE = at::constant_pad_nd(hidden_1SE, {0, 0, 0, card::kTextLen - count});
  prompts_.emplace_front(tokens, embeds_1TE);
  if (prompts_.size() > options_.cached_prompts) prompts_.pop_back();
  return {embeds_1TE, false, stopwatch.seconds()};
}

void Pipeline::adopt(const memory::MemoryPlan& plan) {
  options_.plan = plan;
  residency_->adopt(plan);
}

void Pipeline::share(std::unique_ptr<comm::Communicator> group) {
  denoiser_->gather_over(nullptr);
  if (const std::unique_ptr<ParallelPlan> before = std::move(parallel_)) before->finalize();
  if (!group || group->size() == 1) return;
  const std::int64_t heads = denoiser_->config().num_attention_heads;
  parallel_ = std::make_unique<ParallelPlan>(std::move(group), heads, options_.device);
  denoiser_->gather_over(&parallel_->group());
}

void Pipeline::reshard(const model::ShardSeat& seat) {
  options_.shard = seat;
  for (const bool high : {true, false}) {
    model::Transformer* expert = denoiser_->expert(high);
    if (expert == nullptr) continue;
    loras_->reshard(high, seat);
    residency_->add(high ? Part::transformer : Part::transformer_2, weights_of(*expert));
  }
}

comm::Communicator* Pipeline::group() const {
  return parallel_ ? &parallel_->group() : nullptr;
}

Denoised Pipeline::denoise(const DenoiseRequest& request, const DenoiseObserver& observer) const {
  if (job::lora_set(request.settings.loras) != loras_->set()) {
    throw Error(ErrorKind::internal, "denoise: the settings' LoRAs are not in use");
  }
  const model::ShardSeat here = parallel_ ? model::ShardSeat{group()->rank(), group()->size()} : model::ShardSeat{};
  if (options_.shard.sharded() && options_.shard != here) {
    throw Error(ErrorKind::internal, "denoise: weights are sharded over " + std::to_string(options_.shard.size) +
                                         " ranks, and " + std::to_string(here.size) + " render");
  }
  return denoiser_->run(request, observer, parallel_.get());
}

ImageCondition Pipeline::encode_pictures(const settings::Settings& settings, const Pictures& pictures) const {
  const c10::InferenceMode inference;
  if (settings.image.empty()) return {};
  const Coding coding{options_.plan.tiled.encode, group()};
  residency_->need({Part::vae, Part::image_encoder});
  if (denoiser_->card().expand_timesteps()) return {first_frame_condition(*vae_, settings, pictures, coding), {}};
  return {frames_condition(*vae_, settings, pictures, coding), clip_ ? clip_embeds(*clip_, pictures) : at::Tensor()};
}

std::optional<ClipSquare> Pipeline::clip_square() const {
  if (!clip_) return std::nullopt;
  return ClipSquare{clip_->picture().shortest_edge, clip_->picture().crop};
}

double Pipeline::decode(const at::Tensor& latents_CFYX, const FrameSink& sink, const base::CancelToken& cancel) const {
  const c10::InferenceMode inference;
  const base::Stopwatch stopwatch;
  double in_sink = 0;
  residency_->need({Part::vae});
  const Coding coding{options_.plan.tiled.decode, group()};
  if (coding.tiled && coding.group != nullptr && !parallel_->leads()) return 0;
  std::exception_ptr trouble;
  const auto timed = [&](const at::Tensor& frames_FHW3) {
    if (trouble) return;
    const base::Stopwatch sinking;
    try {
      cancel.throw_if_cancelled();
      sink(frames_FHW3);
    } catch (...) {
      if (coding.group == nullptr) throw;
      trouble = std::current_exception();  // the others wait for this rank's band
    }
    in_sink += sinking.seconds();
  };
  decode_frames(*vae_, latents_CFYX, coding, timed);
  if (trouble) std::rethrow_exception(trouble);
  return stopwatch.seconds() - in_sink;
}

}  // namespace nightreel::pipeline

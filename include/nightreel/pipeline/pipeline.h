// A whole Wan checkpoint, loaded: prompt tokens in, latents out, frames out.
//
// Owns the text encoder, the transformers and the VAE, which compute on one device; where a plan says so, weights wait
// on the host meanwhile and come when they are needed. One thread at a time. A folder that is not a model of this
// version throws base::Error{model} naming the file; for the rest see denoise.h. CPU threads are the caller's choice
// (at::set_num_threads).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/memory/plan.h"
#include "nightreel/memory/sizes.h"
#include "nightreel/model/fully_sharded.h"
#include "nightreel/pipeline/denoise.h"
#include "nightreel/pipeline/frames.h"
#include "nightreel/pipeline/loras.h"
#include "nightreel/settings/settings.h"

namespace nightreel::comm {
class Communicator;
}

namespace nightreel::model {
class ClipVision;
class Umt5Encoder;
class Vae;
}  // namespace nightreel::model

namespace nightreel::weights {
class TensorReader;
}

namespace nightreel::pipeline {

class ParallelPlan;
class Residency;

struct PipelineOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  bool fp8 = false;               // the transformers' matrices are held in fp8 (Transformer)
  memory::MemoryPlan plan;        // where weights are until adopt() says otherwise
  model::ShardSeat shard;         // whose share of the transformers' blocks is kept; else all of them
  std::optional<bool> keep_keys;  // see Denoiser
  weights::TensorReader* reader =
      nullptr;  // while loading: where tensors come from, if not from this host's files alone
  std::size_t cached_prompts = memory::kCachedPrompts;  // the negative one above all comes back with every job
};

struct EncodedPrompt {
  at::Tensor embeds_1TE;  // [1, 512, E], zero after the prompt's last token, in the pipeline's dtype
  bool cached = false;
  double seconds = 0;
};

/// The pictures that a video begins and ends with, uint8; undefined: none.
struct Pictures {
  at::Tensor first_HW3;  // of the video's size
  at::Tensor last_HW3;
  at::Tensor clip_first_SS3;  // as clip_square() wants them, where it wants any
  at::Tensor clip_last_SS3;
};

/// What CLIP's image encoder looks at: the picture brought to `shortest_edge`, and the square in its middle.
struct ClipSquare {
  std::int64_t shortest_edge = 0;
  std::int64_t side = 0;
};

class Pipeline {
 public:
  /// Loads the checkpoint that `card` describes, which this version must support (card::check_supported).
  static Pipeline load(const card::Card& card, const PipelineOptions& options);
  Pipeline(Pipeline&&) noexcept;
  Pipeline& operator=(Pipeline&&) noexcept;
  ~Pipeline();

  /// Seconds that loading took, by component.
  const std::map<std::string, double>& load_seconds() const { return load_seconds_; }

  /// Throws what denoise() would throw for the settings alone.
  void check(const settings::Settings& settings) const { denoiser_->check(settings); }

  /// Where weights are from now on, and whether pictures are coded in tiles. The numbers depend on the tiles alone.
  void adopt(const memory::MemoryPlan& plan);

  /// The LoRAs that the transformers shall have merged from the next denoise() on, which must be of the same ones;
  /// an expert's weights change when it next computes, and only where its set is another. Returns the keys that no
  /// expert has a place for. Throws Error{job} for files that do not fit this model, and then nothing changes.
  std::vector<std::string> use_loras(const OpenLoras& loras) { return loras_->use(loras); }

  /// See Denoiser::high_steps.
  std::int64_t high_steps(const settings::Settings& settings) const { return denoiser_->high_steps(settings); }

  /// From now on this renderer is one of `group`, whose ranks render each video together: all make the same calls of
  /// encode_prompt, encode_pictures, denoise and decode, with the same arguments. Rank 0 encodes prompts, all have the
  /// same latents and frames. Null, or a group of one: alone again; a group that was there before is ended, on all its
  /// ranks. Where weights are coded in tiles for want of memory, each rank codes for itself, and decode() gives frames
  /// on rank 0 alone. A pipeline whose blocks are sharded denoises in a group where each rank has its seat, and nowhere
  /// else. Throws Error{comm}.
  void share(std::unique_ptr<comm::Communicator> group);

  /// From now on the transformers' blocks are sharded so, or whole: this rank reads them from the checkpoint again.
  void reshard(const model::ShardSeat& seat);

  /// Tokens with the end-of-sequence token, without padding: 1 to 512, else Error{internal}.
  EncodedPrompt encode_prompt(const std::vector<std::int64_t>& tokens);

  /// Nothing where the model has no image encoder. Any thread.
  std::optional<ClipSquare> clip_square() const;

  /// What the model makes of the pictures that the settings name. Throws Error{internal} where they are missing or of
  /// another size.
  ImageCondition encode_pictures(const settings::Settings& settings, const Pictures& pictures) const;

  /// See Denoiser::run.
  Denoised denoise(const DenoiseRequest& request, const DenoiseObserver& observer = {}) const;

  /// Latents [C, F, Y, X] as denoise() gives them, to frames: round(clamp(x/2 + 0.5, 0, 1) * 255). Returns the seconds
  /// it took, without the sink's. Looks at `cancel` between pieces.
  double decode(const at::Tensor& latents_CFYX, const FrameSink& sink, const base::CancelToken& cancel = {}) const;

 private:
  Pipeline(const PipelineOptions& options);
  EncodedPrompt encode_alone(const std::vector<std::int64_t>& tokens);
  comm::Communicator* group() const;

  PipelineOptions options_;
  std::unique_ptr<model::Umt5Encoder> text_encoder_;
  std::unique_ptr<model::Vae> vae_;
  std::unique_ptr<model::ClipVision> clip_;  // null: the model has none
  std::unique_ptr<Denoiser> denoiser_;
  std::unique_ptr<ExpertLoras> loras_;  // of the denoiser's transformers
  std::map<std::string, double> load_seconds_;
  std::list<std::pair<std::vector<std::int64_t>, at::Tensor>> prompts_;  // latest use first
  std::unique_ptr<Residency> residency_;                                 // of the modules above
  std::unique_ptr<ParallelPlan> parallel_;                               // null: alone
};

}  // namespace nightreel::pipeline

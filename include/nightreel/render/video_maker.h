// One video from its settings: text, pipeline and media put together. What the renderer process and `generate` share.
//
// Owns the loaded model. prepare() and write() may be called from other threads while one thread is in render(): they
// touch neither the model nor the GPU, so that the next prompt is tokenised and the video before is encoded while one
// denoises. Errors are those of the layers below.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/base/log.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/job/memory.h"
#include "nightreel/job/settings.h"
#include "nightreel/model/fully_sharded.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/protocol/message.h"

namespace nightreel::render {

class Agreement;

struct MakerOptions {
  std::string model;             // folder, in either layout
  std::string device = "auto";   // auto, cpu, cuda, cuda:GPU-<uuid>
  std::string dtype = "auto";    // auto: bf16 on a GPU, f32 on a CPU; bf16, f32; fp8: auto, with weights in fp8
  int threads = 2;               // of LibTorch's CPU kernels
  std::uint64_t gpu_memory = 0;  // bytes to plan with; 0: what the GPU has, no limit on a CPU
  model::ShardSeat shard = {};   // in a group that is to come: whose share of the transformers' blocks to keep
  std::string stage = {};        // folder of this host to copy the checkpoint to and read it from; empty: none
  base::Logger log = {};         // of loading
};

struct Prepared {
  std::vector<std::int64_t> prompt;    // tokens
  std::vector<std::int64_t> negative;  //
  pipeline::Pictures pictures;         // brought to the video's size
  pipeline::OpenLoras loras;
  std::string inputs_hash;  // of the pictures' pixels and the LoRAs' numbers; empty: none of either
  double seconds = 0;
};

struct Rendered {
  at::Tensor latents_CFYX;  // float32 on the CPU
  at::Tensor frames_FHW3;   // uint8, dense, on the CPU
  std::int64_t resumed_step = 0;
  std::map<std::string, double> timings;            // text, denoise, decode: seconds
  std::vector<std::string> unused_keys;             // of LoRAs, that this model has no place for: a text for each file
  std::map<std::string, std::string> lora_digests;  // by path
};

/// A video that waits for its second half: what its prompts and pictures have come to, and where it stands.
struct Begun {
  at::Tensor prompt_1TE;
  at::Tensor negative_1TE;  // undefined without guidance
  pipeline::ImageCondition image;
  std::optional<pipeline::DenoiseState> state;  // none: at the start
  std::int64_t resumed_step = 0;
  std::map<std::string, double> timings;
  std::exception_ptr unsaved;  // in a group: why its state could not be kept, which ends it as soon as all hear of it
};

/// What render() tells while it works, and what it may be told. Called from the thread that renders.
struct RenderObserver {
  std::function<void(const std::string& stage, std::int64_t step, std::int64_t steps)> progress;
  /// After a step: shall the state be saved, and shall the work stop then?
  std::function<bool()> stop_asked;
  std::function<void(std::int64_t step)> saved;
  base::CancelToken cancel;
};

/// Where a state to go on from is kept, and how often. No path: none.
struct Checkpointing {
  std::string path;
  std::int64_t every = 0;  // steps; 0: about a minute's worth
};

/// Files to write; empty: not wanted.
struct OutputFiles {
  std::string video;
  std::string sheet;
  std::string archive;
  std::string archive_content = "none";  // none, latents, frames
  int crf = 18;
};

class VideoMaker {
 public:
  /// Sets the number of CPU threads of the process and, for cuda:GPU-<uuid>, the GPU that it sees; then loads.
  /// `loading`: a group whose ranks load the same model now and read its weights together; null: alone.
  explicit VideoMaker(const MakerOptions& options, std::unique_ptr<comm::Communicator> loading = nullptr);
  ~VideoMaker();

  /// Device, digest, versions, the memory that jobs are judged by, seconds of loading.
  const protocol::ReadyEvent& facts() const;

  /// From now on the members of `group` render each video together, and make the same calls with equal settings. What
  /// one alone decides counts for all: rank 0's observer stops, cancels and schedules, rank 0 keeps the checkpoint.
  /// Errors before the first step are all members'. Throws Error{comm}, after which this object is of no use. Where
  /// blocks are sharded over other ranks than the group's, or there is no group, the first video begins with reading
  /// them again; one that does not fit then is an Error{device_memory}, since elsewhere it may.
  void share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline);
  /// Null: alone, as is a group of one.
  Agreement* agreement() const;

  Prepared prepare(const job::Settings& settings) const;
  /// Settings that do not fit the device's memory throw Error{job}.
  Rendered render(const job::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
                  const RenderObserver& observer);
  /// A wave: so many videos are better begun one after the other, then finished one after the other, because their
  /// experts take turns on the GPU. 1: render() is as good. Same numbers either way.
  std::int64_t wave(const job::Settings& settings) const;
  /// Text, pictures, the high-noise expert's steps; errors as render()'s. The state in between is saved where there is
  /// a path.
  Begun begin(const job::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
              const RenderObserver& observer);
  /// The other steps, decoding.
  Rendered finish(const job::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
                  const RenderObserver& observer, Begun begun);

  /// Writes the files; `spec` is the job as given, for the archive. Adds `encode` to the timings.
  void write(const job::Settings& settings, const protocol::Json& spec, const OutputFiles& files,
             Rendered& rendered) const;

 private:
  struct Parts;
  void adopt(const job::Settings& settings, const Prepared& prepared);
  job::MemoryPlan plan_for(const job::Settings& settings) const;
  void reshard();
  /// Whether this renderer has the say: alone, or as rank 0.
  bool decides() const;
  Begun encode(const job::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
               const RenderObserver& observer);
  void denoise(const job::Settings& settings, const Prepared& prepared, const Checkpointing& checkpointing,
               const RenderObserver& observer, std::optional<std::int64_t> pause_after, Rendered& out, Begun& begun);
  std::unique_ptr<Parts> parts_;
};

}  // namespace nightreel::render

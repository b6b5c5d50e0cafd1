// What makes videos from their settings, as the threads of a renderer see it: a VideoMaker, or a fake in tests.
//
// prepare() and write() may be called from other threads while one thread is in the other calls: they touch neither the
// model nor the GPU, so that the next prompt is tokenised and the video before is encoded while one denoises. Errors
// are those of the layers below.
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
#include "nightreel/comm/communicator.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/protocol/message.h"
#include "nightreel/settings/settings.h"

namespace nightreel::render {

class Agreement;

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
  protocol::Json plan;                              // memory::MemoryPlan
};

/// A video that waits for its second half: what its prompts and pictures have come to, and where it stands.
struct Begun {
  at::Tensor prompt_1TE;
  at::Tensor negative_1TE;  // undefined without guidance
  pipeline::ImageCondition image;
  std::optional<pipeline::DenoiseState> state;  // none: at the start
  std::int64_t resumed_step = 0;
  std::map<std::string, double> timings;
  bool had_less_memory = false;  // it ran out once, and goes on with a plan that needs less
  std::exception_ptr unsaved;    // in a group: why its state could not be kept, which ends it as soon as all hear of it
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
  std::string job = {};    // its hash: another job's state of the same name is not gone on from
};

/// A video that is to be made: what it shall be, what was prepared of it, where its state is kept, and who hears of it.
struct Video {
  settings::Settings settings;
  Prepared prepared;
  Checkpointing saving = {};
  RenderObserver observer = {};
};

/// Files to write; empty: not wanted.
struct OutputFiles {
  std::string video;
  std::string sheet;
  std::string archive;
  std::string archive_content = "none";  // none, latents, frames
};

class Maker {
 public:
  virtual ~Maker() = default;

  /// Device, digest, versions, the memory that jobs are judged by, seconds of loading.
  virtual const protocol::ReadyEvent& facts() const = 0;

  /// From now on the members of `group` render each video together, and make the same calls with equal settings. What
  /// one alone decides counts for all: rank 0's observer stops, cancels and schedules, rank 0 keeps the checkpoint.
  /// Errors before the first step are all members'. Returns how the members stay in step, as long as they are a group;
  /// null for a group of one, which is no group. No `group`: the members part in good order, in the same call, and each
  /// is alone. Throws Error{comm}, after which this object is of no use.
  virtual Agreement* share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline) = 0;

  virtual Prepared prepare(const settings::Settings& settings) const = 0;
  /// From now on plans need `bytes` of the device at most; 0: as before.
  virtual void plan_with(std::uint64_t bytes) = 0;
  /// Settings that do not fit the device's memory throw Error{job}.
  virtual Rendered render(const Video& video) = 0;
  /// A wave: so many videos are better begun one after the other, then finished one after the other, because their
  /// experts take turns on the GPU. 1: render() is as good. Same numbers either way.
  virtual std::int64_t wave(const settings::Settings& settings) const = 0;
  /// Text, pictures, the high-noise expert's steps; errors as render()'s. The state in between is saved where there is
  /// a path.
  virtual Begun begin(const Video& video) = 0;
  /// The other steps, decoding.
  virtual Rendered finish(const Video& video, Begun begun) = 0;

  /// Writes the files; `spec` is the job as given, for the archive. Adds `encode` to the timings.
  virtual void write(const settings::Settings& settings, const protocol::Json& spec, const OutputFiles& files,
                     Rendered& rendered) const = 0;
};

}  // namespace nightreel::render

// The model that a maker has loaded: what it is, whom it is shared with, how much memory there is for it, and the plan
// by which its weights are where they are.
//
// Owns the pipeline; the agreement refers to the pipeline's group. The thread that renders, but for the tokenizer, the
// LoRA files and the pipeline's clip_square(). Errors are those of the layers below.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "nightreel/base/log.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/memory/plan.h"
#include "nightreel/model/fully_sharded.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/protocol/message.h"
#include "nightreel/render/maker.h"
#include "nightreel/render/video_maker.h"
#include "nightreel/text/tokenizer.h"
#include "render/agreement.h"
#include "render/state_file.h"

namespace nightreel::render {

struct LoadedModel {
  LoadedModel(text::Tokenizer words, pipeline::Pipeline model)
      : tokenizer(std::move(words)), pipeline(std::move(model)) {}

  text::Tokenizer tokenizer;
  pipeline::Pipeline pipeline;
  pipeline::LoraFiles lora_files;
  protocol::ReadyEvent facts;
  base::Logger log;
  at::Device device = at::kCPU;
  std::unique_ptr<Agreement> agreement;  // null: alone

  memory::DeviceMemory memory;  // in a group: the least of the members'. Of whole transformers
  std::uint64_t most = 0;       // bytes of it to plan with; 0: all
  memory::MemoryPlan plan;      // of the video that is being made
  model::ShardSeat planned;     // when it was loaded; blocks are sharded at all where this has several ranks
  model::ShardSeat held;        // how they are now
  model::ShardSeat seat;        // in the group; alone: of one

  /// Whether this renderer has the say: alone, or as rank 0.
  bool decides() const { return !agreement || agreement->leads(); }
  /// See Maker::share.
  void share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline);

  /// As it is planned with now.
  memory::DeviceMemory memory_here() const;
  /// Throws Error{job} where the video does not fit, Error{device_memory} where it might elsewhere.
  memory::MemoryPlan plan_for(const settings::Settings& settings) const;
  /// From now on weights are where `next` says.
  void follow(const memory::MemoryPlan& next);
  /// Remembers that the plan ran out of memory there. Returns the next one that needs less, if there is any.
  std::optional<memory::MemoryPlan> plan_after_failure(const std::string& stage, const settings::Settings& settings);
  /// Checks the video and plans for it, before any work is lost on files that do not fit.
  void adopt(const Video& video);
  /// Shards the blocks as the ranks that are here want it, who may be fewer than planned.
  void reshard();

  /// A state of another precision, or of pictures that were encoded in another way, is another's: half a video in each
  /// is neither.
  StateKey key(const Video& video) const;
};

/// See VideoMaker's constructor.
std::unique_ptr<LoadedModel> load_model(const MakerOptions& options, std::unique_ptr<comm::Communicator> loading);

}  // namespace nightreel::render

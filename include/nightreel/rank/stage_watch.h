// How long a video may go without a sign of progress: a limit for each stage of its life, and for steps and pieces
// whose like it has seen, a limit that follows from them.
//
// Plain values; one thread. Only parse_stage_limits fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "nightreel/rank/silence.h"

namespace nightreel::rank {

/// Seconds without a sign of progress after which a stage counts as hung. docs/reliability.md says where the figures
/// come from.
struct StageLimits {
  double load = 3600;     // of a renderer, until it is ready: a large model from slow storage
  double text = 1800;     // prompts and pictures, with their encoders' weights
  double step = 3600;     // one step of denoising
  double decode = 1800;   // one piece of frames
  double encode = 1800;   // the video, its sheet and its archive on their way to storage
  double publish = 1800;  // the rank checks and hashes the files and gives them their names
  /// After two steps or pieces the next may take so many times the longest, but never more than the above, and
  double times = 10;
  /// always as long as this: a second expert's weights may have to come from storage before a step.
  double least = 600;
};

/// By the stages' names.
using GivenLimits = std::map<std::string, double>;

/// "step=2h,text=40m". Throws Error{usage} for a stage that is none, or no duration above zero.
GivenLimits parse_stage_limits(const std::string& text);

/// What is not given is the device's default: a CPU may need hours for a step of a large model.
StageLimits stage_limits(bool gpu, const GivenLimits& given);

/// Watches one video. Its stages are those of progress events (protocol/message.h), and `publish`.
class StageWatch {
 public:
  explicit StageWatch(const StageLimits& limits) : limits_(limits) {}
  /// A sign of progress.
  void sign(const std::string& stage, std::int64_t step);
  /// Not its turn: no time passes for it.
  void wait() { silence_.broken(); }
  /// To be called several times a second. Time in which nobody looked is not held against the video: the rank was
  /// stopped itself, or away in a call.
  void look() { silence_.look(); }
  /// From the last sign to the next one, at most.
  std::chrono::milliseconds limit() const;
  double silent_s() const { return silence_.seconds(); }
  bool hung() const { return std::chrono::duration<double>(silent_s()) > limit(); }

 private:
  double stage_limit_s() const;
  StageLimits limits_;
  std::string stage_;
  std::int64_t step_ = 0;
  int signs_ = 0;         // of further steps in this stage
  double longest_s_ = 0;  // between two of them
  Silence silence_;
};

}  // namespace nightreel::rank

// The denoising of a video, whole or up to a step: what is told after each step, and when its state is saved.
//
// Refers to all that it is given; the thread that renders. Throws what the pipeline throws; a state that cannot be
// written is an Error{storage}, in a group once all its members have heard of it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "nightreel/base/clock.h"
#include "nightreel/pipeline/denoise.h"
#include "nightreel/render/maker.h"
#include "render/loaded_model.h"
#include "render/state_file.h"

namespace nightreel::render {

class Denoising {
 public:
  /// Goes on from where `begun` stands, which is told what becomes of it.
  Denoising(LoadedModel& model, const Video& video, Begun& begun);

  /// The latents. With `pause_after` undefined ones: begun.state stands behind that step then.
  at::Tensor run(std::optional<std::int64_t> pause_after);

 private:
  pipeline::DenoiseObserver watcher();
  pipeline::AfterStep after(std::int64_t done, std::int64_t steps);
  bool stop_asked() const;
  /// Whether the state is to be saved although the work goes on.
  bool due(std::int64_t done, std::int64_t steps);
  void save(const pipeline::DenoiseState& state);

  LoadedModel& model_;
  const Video& video_;
  Begun& begun_;
  const StateKey key_;
  std::optional<std::int64_t> pause_after_;
  std::optional<pipeline::DenoiseState> latest_;  // that was asked for
  base::Stopwatch since_save_;
};

}  // namespace nightreel::render

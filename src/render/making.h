// One video in the making, stage by stage: text and pictures, denoising, decoding, each with the memory that there is.
//
// Refers to the model and the video; the thread that renders. Errors are those of the layers below. A stage that runs
// out of memory is tried once more with the next plan that needs less there; then OutOfMemory is thrown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "nightreel/render/maker.h"
#include "render/loaded_model.h"

namespace nightreel::render {

class Making {
 public:
  /// `begun`: what was made of the video so far.
  Making(LoadedModel& model, const Video& video, Begun begun = {})
      : model_(model), video_(video), begun_(std::move(begun)) {}

  /// Text, pictures, and the state to go on from.
  void encode();
  /// The steps of the expert for high noise, where there is another one after it.
  void denoise_first();
  /// All that is left, by a plan of its own: others may have been made meanwhile.
  Rendered finish();

  Begun take() { return std::move(begun_); }

 private:
  std::int64_t done() const { return begun_.state ? begun_.state->sampler.next_step : 0; }
  void encode_text();
  void encode_pictures();
  void find_state();
  void denoise(std::optional<std::int64_t> pause_after);
  void decode();
  /// `run` may be called twice.
  template <class Run>
  void in_memory(const std::string& stage, const Run& run);
  void answer_out_of_memory(const std::string& stage, const std::string& why);

  LoadedModel& model_;
  const Video& video_;
  Begun begun_;
  Rendered out_;
};

}  // namespace nightreel::render

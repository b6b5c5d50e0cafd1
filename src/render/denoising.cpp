#include "render/denoising.h"

#include <ATen/ATen.h>

#include <utility>

#include "nightreel/base/error.h"
#include "nightreel/memory/model.h"
#include "nightreel/memory/text.h"

namespace nightreel::render {
namespace {

using pipeline::AfterStep;

constexpr double kSaveSeconds = 60;

}  // namespace

Denoising::Denoising(LoadedModel& model, const Video& video, Begun& begun)
    : model_(model), video_(video), begun_(begun), key_(model.key(video)) {}

at::Tensor Denoising::run(std::optional<std::int64_t> pause_after) {
  pause_after_ = pause_after;
  try {
    const auto denoised = model_.pipeline.denoise(
        {video_.settings, begun_.prompt_1TE, begun_.negative_1TE, begun_.image, begun_.state}, watcher());
    begun_.timings["denoise"] += denoised.seconds;
    if (pause_after) begun_.state = std::move(latest_);
    return denoised.latents_CFYX;
  } catch (const base::Error& e) {
    if (begun_.unsaved && e.kind() == base::ErrorKind::interrupted) std::rethrow_exception(begun_.unsaved);
    throw;
  }
}

pipeline::DenoiseObserver Denoising::watcher() {
  pipeline::DenoiseObserver watcher;
  watcher.cancel = video_.observer.cancel;
  watcher.on_step = [this](std::int64_t done, std::int64_t steps) { return after(done, steps); };
  watcher.save = [this](const pipeline::DenoiseState& state) { save(state); };
  return watcher;
}

AfterStep Denoising::after(std::int64_t done, std::int64_t steps) {
  video_.observer.progress("denoise", done, steps);
  if (!model_.decides()) return AfterStep::go_on;  // rank 0 wants what all then do
  if (done < steps && stop_asked()) return AfterStep::save_and_stop;
  if (done == pause_after_) return AfterStep::pause;
  return due(done, steps) ? AfterStep::save : AfterStep::go_on;
}

bool Denoising::stop_asked() const {
  return !video_.saving.path.empty() && video_.observer.stop_asked && video_.observer.stop_asked();
}

bool Denoising::due(std::int64_t done, std::int64_t steps) {
  const Checkpointing& wanted = video_.saving;
  if (wanted.path.empty() || done == steps) return false;
  const bool by_step = wanted.every > 0 && done % wanted.every == 0;
  const bool by_time = wanted.every == 0 && since_save_.seconds() >= kSaveSeconds;
  if (by_step || by_time) since_save_ = base::Stopwatch();
  return by_step || by_time;
}

void Denoising::save(const pipeline::DenoiseState& state) {
  latest_ = state;
  if (video_.saving.path.empty() || !model_.decides()) return;
  try {
    save_state(video_.saving.path, key_, state, memory::to_json(model_.plan));
    if (video_.observer.saved) video_.observer.saved(state.sampler.next_step);
  } catch (const base::Error&) {
    if (!model_.agreement) throw;
    begun_.unsaved = std::current_exception();  // the others have gone on to the next step
    video_.observer.cancel.cancel();
  }
}

}  // namespace nightreel::render

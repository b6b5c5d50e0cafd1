// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures; T rows of a prompt, E their width.
#include "render/making.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "nightreel/base/clock.h"
#include "nightreel/memory/model.h"
#include "nightreel/memory/text.h"
#include "render/denoising.h"
#include "render/out_of_memory.h"

namespace nightreel::render {

template <class Run>
void Making::in_memory(const std::string& stage, const Run& run) {
  for (;;) {
    try {
      return run();
    } catch (const c10::OutOfMemoryError& e) {
      answer_out_of_memory(stage, e.what_without_backtrace());
    }
  }
}

// What the stage held is gone by now. A group's other members are in the middle of it: for them there is no next plan.
void Making::answer_out_of_memory(const std::string& stage, const std::string& why) {
  const auto next = model_.plan_after_failure(stage, video_.settings);
  const std::string what = "out of memory in stage " + stage + ": " + why;
  if (model_.agreement || begun_.had_less_memory || !next)
    throw OutOfMemory(what, memory::to_text(model_.memory.failed));
  model_.log.warn("out-of-memory", what + "; once more with " + memory::summary(*next, video_.settings));
  begun_.had_less_memory = true;
  model_.follow(*next);
}

void Making::encode() {
  const auto adopting = [&] { model_.adopt(video_); };
  model_.agreement ? model_.agreement->together(adopting) : adopting();
  model_.reshard();
  encode_text();
  encode_pictures();
  find_state();
}

void Making::encode_text() {
  video_.observer.progress("text", 0, 0);
  const base::Stopwatch watch;
  in_memory("text", [&] {
    begun_.prompt_1TE = model_.pipeline.encode_prompt(video_.prepared.prompt).embeds_1TE;
    if (!pipeline::is_guided(video_.settings)) return;
    begun_.negative_1TE = model_.pipeline.encode_prompt(video_.prepared.negative).embeds_1TE;
  });
  begun_.timings["text"] = video_.prepared.seconds + watch.seconds();
}

void Making::encode_pictures() {
  const base::Stopwatch watch;
  in_memory("picture",
            [&] { begun_.image = model_.pipeline.encode_pictures(video_.settings, video_.prepared.pictures); });
  if (!video_.settings.image.empty()) begun_.timings["image"] = watch.seconds();
}

void Making::find_state() {
  if (model_.decides()) begun_.state = load_state(video_.saving.path, model_.key(video_), model_.log);
  if (model_.agreement) begun_.state = model_.agreement->same_state(begun_.state);
  begun_.resumed_step = done();
}

void Making::denoise_first() {
  const std::int64_t steps = video_.settings.num_inference_steps;
  const std::int64_t boundary = model_.pipeline.high_steps(video_.settings);
  const std::int64_t before = done();
  if (before < boundary && boundary < steps) denoise(boundary);
  video_.observer.progress("wait", std::max(before, boundary), steps);
}

void Making::denoise(std::optional<std::int64_t> pause_after) {
  in_memory("denoise", [&] {
    Denoising denoising(model_, video_, begun_);
    video_.observer.progress("denoise", done(), video_.settings.num_inference_steps);
    out_.unused_keys = model_.pipeline.use_loras(video_.prepared.loras);  // another of a wave may have used others
    out_.latents_CFYX = denoising.run(pause_after);
  });
}

Rendered Making::finish() {
  model_.follow(model_.plan_for(video_.settings));
  denoise(std::nullopt);
  out_.resumed_step = begun_.resumed_step;
  out_.lora_digests = pipeline::digests(video_.prepared.loras);
  out_.timings = std::move(begun_.timings);
  decode();
  out_.plan = memory::to_json(model_.plan);
  return std::move(out_);
}

void Making::decode() {
  const settings::Settings& settings = video_.settings;
  const auto& observer = video_.observer;
  if (model_.agreement) model_.agreement->together([&] { observer.cancel.throw_if_cancelled(); });
  observer.progress("decode", 0, settings.num_frames);
  out_.frames_FHW3 = at::empty({settings.num_frames, settings.height, settings.width, 3}, at::kByte);
  in_memory("decode", [&] {
    std::int64_t at_frame = 0;
    const auto take = [&](const at::Tensor& piece_FHW3) {
      out_.frames_FHW3.slice(0, at_frame, at_frame + piece_FHW3.size(0)).copy_(piece_FHW3);
      at_frame += piece_FHW3.size(0);
      observer.progress("decode", at_frame, settings.num_frames);
    };
    out_.timings["decode"] = model_.pipeline.decode(out_.latents_CFYX, take, observer.cancel);
  });
}

}  // namespace nightreel::render

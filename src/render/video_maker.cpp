// F frames; H, W of the pictures.
#include "nightreel/render/video_maker.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nightreel/base/clock.h"
#include "nightreel/media/archive.h"
#include "nightreel/media/picture.h"
#include "nightreel/media/video.h"
#include "nightreel/memory/plan.h"
#include "nightreel/settings/json.h"
#include "nightreel/text/clean.h"
#include "render/loaded_model.h"
#include "render/making.h"
#include "render/picture_files.h"

namespace nightreel::render {
namespace {

media::Frames view(const at::Tensor& frames_FHW3) {
  return {frames_FHW3.size(0),
          frames_FHW3.size(1),
          frames_FHW3.size(2),
          {frames_FHW3.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(frames_FHW3.numel())}};
}

}  // namespace

VideoMaker::VideoMaker(const MakerOptions& options, std::unique_ptr<comm::Communicator> loading)
    : model_(load_model(options, std::move(loading))) {}

VideoMaker::~VideoMaker() = default;

const protocol::ReadyEvent& VideoMaker::facts() const {
  return model_->facts;
}

Agreement* VideoMaker::share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline) {
  model_->share(std::move(group), deadline);
  return model_->agreement.get();
}

Prepared VideoMaker::prepare(const settings::Settings& settings) const {
  const base::Stopwatch watch;
  Prepared prepared;
  prepared.prompt = model_->tokenizer.encode(text::clean_prompt(settings.prompt));
  prepared.negative = model_->tokenizer.encode(text::clean_prompt(settings.negative_prompt));
  prepared.pictures = read_pictures(settings, model_->pipeline.clip_square(), model_->log);
  prepared.loras = pipeline::open_loras(settings.loras, model_->lora_files);
  prepared.inputs_hash = hash_of(prepared.pictures) + pipeline::digest_of(prepared.loras);
  prepared.seconds = watch.seconds();
  return prepared;
}

void VideoMaker::plan_with(std::uint64_t bytes) {
  model_->most = bytes;
}

std::int64_t VideoMaker::wave(const settings::Settings& settings) const {
  return memory::plan_memory(model_->memory_here(), settings).wave();
}

Rendered VideoMaker::render(const Video& video) {
  Making making(*model_, video);
  making.encode();
  return making.finish();
}

Begun VideoMaker::begin(const Video& video) {
  Making making(*model_, video);
  making.encode();
  making.denoise_first();
  return making.take();
}

Rendered VideoMaker::finish(const Video& video, Begun begun) {
  return Making(*model_, video, std::move(begun)).finish();
}

void VideoMaker::write(const settings::Settings& settings, const protocol::Json& spec, const OutputFiles& files,
                       Rendered& rendered) const {
  const base::Stopwatch watch;
  const media::Frames frames = view(rendered.frames_FHW3);
  if (!files.video.empty()) {
    media::write_video(files.video, frames, {settings.fps, static_cast<int>(settings.crf), settings.codec});
  }
  if (!files.sheet.empty()) media::write_sheet(files.sheet, frames);
  if (!files.archive.empty()) {
    const at::Tensor latents = rendered.latents_CFYX.contiguous();
    media::ArchiveView archive;
    archive.job = spec;
    archive.settings = settings::to_json(settings);
    archive.model = model_->facts.model;
    std::copy_n(latents.sizes().begin(), 4, archive.latents_shape.begin());
    archive.latents = {latents.const_data_ptr<float>(), static_cast<std::size_t>(latents.numel())};
    if (files.archive_content == "frames") archive.frames = frames;
    media::write_archive(files.archive, archive);
  }
  rendered.timings["encode"] = watch.seconds();
}

}  // namespace nightreel::render

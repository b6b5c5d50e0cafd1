// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures; T rows of a prompt, E their width.
#include "nightreel/render/video_maker.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <filesystem>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/card/card.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/job/memory.h"
#include "nightreel/job/recipe.h"
#include "nightreel/job/resolve.h"
#include "nightreel/media/archive.h"
#include "nightreel/media/picture.h"
#include "nightreel/media/video.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/render/device.h"
#include "nightreel/settings/json.h"
#include "nightreel/text/clean.h"
#include "nightreel/text/tokenizer.h"
#include "render/agreement.h"
#include "render/loading.h"
#include "render/out_of_memory.h"
#include "render/picture_files.h"
#include "render/state_file.h"

namespace nightreel::render {
namespace {

constexpr double kCheckpointSeconds = 60;

media::Frames view(const at::Tensor& frames_FHW3) {
  return {frames_FHW3.size(0),
          frames_FHW3.size(1),
          frames_FHW3.size(2),
          {frames_FHW3.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(frames_FHW3.numel())}};
}

// Decides after each step whether the state is due.
class Schedule {
 public:
  explicit Schedule(const Checkpointing& wanted) : wanted_(wanted) {}
  bool due(std::int64_t done, std::int64_t steps) {
    if (wanted_.path.empty() || done == steps) return false;
    const bool by_step = wanted_.every > 0 && done % wanted_.every == 0;
    const bool by_time = wanted_.every == 0 && since_.seconds() >= kCheckpointSeconds;
    if (by_step || by_time) since_ = base::Stopwatch();
    return by_step || by_time;
  }

 private:
  const Checkpointing& wanted_;
  base::Stopwatch since_;
};

}  // namespace

struct VideoMaker::Parts {
  Parts(text::Tokenizer words, pipeline::Pipeline model) : tokenizer(std::move(words)), pipeline(std::move(model)) {}
  text::Tokenizer tokenizer;
  pipeline::Pipeline pipeline;
  protocol::ReadyEvent facts;
  job::DeviceMemory memory;  // in a group: the least of the members'. Of whole transformers
  std::uint64_t most = 0;    // bytes of it to plan with; 0: all
  job::MemoryPlan plan;      // of the video that is being made
  model::ShardSeat planned;  // when it was loaded; blocks are sharded at all where this has several ranks
  model::ShardSeat held;     // how they are now
  model::ShardSeat seat;     // in the group; alone: of one
  base::Logger log;
  pipeline::LoraFiles lora_files;
  at::Device device = at::kCPU;
  std::unique_ptr<Agreement> agreement;  // null: alone. Refers to the group, which is the pipeline's

  job::DeviceMemory memory_here() const {
    job::DeviceMemory here = memory;
    here.model = job::in_shards(memory.model, planned.sharded() ? seat.size : 1);
    here.model.group = seat.size;
    if (most > 0 && most < here.bytes) here.bytes = most;
    return here;
  }

  /// A state of another precision, or of pictures that were encoded in another way, is another's: half a video in each
  /// is neither.
  StateKey key(const settings::Settings& settings, const Prepared& prepared, const std::string& job_hash) const {
    const auto precision = facts.model.at("dtype").get<std::string>();
    const std::string how = plan.tiled.encode ? " encoded in tiles" : "";
    return state_key(settings, prepared.inputs_hash + " " + precision + how, facts.model_digest, job_hash);
  }
};

namespace {

// Where not even the smallest video fits, the renderer has nothing to do here.
job::MemoryPlan first_plan(const card::Card& card, const job::DeviceMemory& memory) {
  settings::Settings settings = job::recipe_for(card, job::RecipeChoice::automatic).defaults;
  const job::MemoryPlan plan = job::plan_memory(memory, settings);
  const bool roomy = memory.model.gpu || memory.host_bytes == 0 || plan.peak().bytes() <= memory.host_bytes;
  if (plan.fits && roomy) return plan;
  settings.height = card.height_multiple();
  settings.width = card.width_multiple();
  settings.num_frames = card.least_frames();
  try {
    job::fitting_plan(memory, settings);
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::environment,
                      base::printable(card.folder) + ": not even its smallest video: " + e.what());
  }
  return plan;
}

}  // namespace

VideoMaker::VideoMaker(const MakerOptions& options, std::unique_ptr<comm::Communicator> loading) {
  const base::Stopwatch watch;
  card::Card card = card::read(options.model);
  card::check_supported(card);
  const at::Device device = pipeline::choose_device(options.device);
  at::set_num_threads(options.threads);
  if (!options.stage.empty()) card.folder = stage_weights(options.model, options.stage, options.log);
  pipeline::PipelineOptions wanted;
  wanted.device = device;
  wanted.dtype = pipeline::choose_dtype(options.dtype, device);
  wanted.fp8 = pipeline::holds_fp8(options.dtype);
  protocol::ReadyEvent facts;
  describe_device(device, facts);
  const job::DeviceMemory whole{
      pipeline::memory_model(card, pipeline::precision_on(device, wanted.dtype, wanted.fp8, wanted.keep_keys)),
      options.gpu_memory > 0 ? options.gpu_memory : pipeline::memory_to_plan_with(device), options.memory_failed,
      device.is_cuda() ? pipeline::host_memory_for(options.host_ranks) : pipeline::host_memory_limit()};
  job::DeviceMemory memory = whole;
  memory.model = job::in_shards(whole.model, options.shard.size);
  wanted.shard = options.shard;
  wanted.plan = first_plan(card, memory);
  auto tokenizer = text::Tokenizer::load(card::tokenizer_folder(card.folder));
  Loaded loaded = load_checkpoint(card, wanted, std::move(loading), options.log);
  parts_ = std::make_unique<Parts>(std::move(tokenizer), std::move(loaded.pipeline));
  facts.memory = job::to_json(memory);
  facts.plan = job::to_json(wanted.plan);
  const std::string precision = wanted.fp8 ? "fp8" : wanted.dtype == at::kFloat ? "f32" : "bf16";
  facts.model_digest = loaded.digest;
  facts.load = loaded.report;
  facts.model = {{"path", std::filesystem::absolute(options.model).lexically_normal().string()},
                 {"digest", facts.model_digest},
                 {"card", card::to_json(card)},
                 {"dtype", precision}};
  facts.load_s = watch.seconds();
  parts_->facts = facts;
  parts_->memory = whole;
  parts_->planned = options.shard;
  parts_->held = options.shard;
  parts_->log = options.log;
  parts_->device = device;
}

VideoMaker::~VideoMaker() = default;

const protocol::ReadyEvent& VideoMaker::facts() const {
  return parts_->facts;
}

Agreement* VideoMaker::share(std::unique_ptr<comm::Communicator> group, std::chrono::milliseconds deadline) {
  if (!group) {
    parts_->agreement.reset();
    parts_->seat = {};
    parts_->pipeline.share(nullptr);
  } else if (group->size() > 1) {
    auto agreement = std::make_unique<Agreement>(*group, parts_->device, deadline);
    parts_->memory.bytes = agreement->least_memory(parts_->memory.bytes);
    parts_->seat = {group->rank(), group->size()};
    parts_->pipeline.share(std::move(group));
    parts_->agreement = std::move(agreement);
  }
  return agreement();
}

Agreement* VideoMaker::agreement() const {
  return parts_->agreement.get();
}

bool VideoMaker::decides() const {
  return !agreement() || agreement()->leads();
}

Prepared VideoMaker::prepare(const settings::Settings& settings) const {
  const base::Stopwatch watch;
  Prepared prepared;
  prepared.prompt = parts_->tokenizer.encode(text::clean_prompt(settings.prompt));
  prepared.negative = parts_->tokenizer.encode(text::clean_prompt(settings.negative_prompt));
  prepared.pictures = read_pictures(settings, parts_->pipeline.clip_square(), parts_->log);
  prepared.loras = pipeline::open_loras(settings.loras, parts_->lora_files);
  prepared.inputs_hash = hash_of(prepared.pictures) + pipeline::digest_of(prepared.loras);
  prepared.seconds = watch.seconds();
  return prepared;
}

void VideoMaker::plan_with(std::uint64_t bytes) {
  parts_->most = bytes;
}

Rendered VideoMaker::render(const settings::Settings& settings, const Prepared& prepared,
                            const Checkpointing& checkpointing, const RenderObserver& observer) {
  return finish(settings, prepared, checkpointing, observer, encode(settings, prepared, checkpointing, observer));
}

std::int64_t VideoMaker::wave(const settings::Settings& settings) const {
  return job::plan_memory(parts_->memory_here(), settings).wave();
}

Begun VideoMaker::begin(const settings::Settings& settings, const Prepared& prepared,
                        const Checkpointing& checkpointing, const RenderObserver& observer) {
  Begun begun = encode(settings, prepared, checkpointing, observer);
  const std::int64_t boundary = parts_->pipeline.high_steps(settings);
  const std::int64_t done = begun.state ? begun.state->sampler.next_step : 0;
  Rendered unfinished;
  if (done < boundary && boundary < settings.num_inference_steps) {
    in_memory("denoise", settings, begun,
              [&] { denoise(settings, prepared, checkpointing, observer, boundary, unfinished, begun); });
  }
  observer.progress("wait", std::max(done, boundary), settings.num_inference_steps);
  return begun;
}

Begun VideoMaker::encode(const settings::Settings& settings, const Prepared& prepared,
                         const Checkpointing& checkpointing, const RenderObserver& observer) {
  auto& pipeline = parts_->pipeline;
  const auto adopting = [&] { adopt(settings, prepared); };
  agreement() ? agreement()->together(adopting) : adopting();
  reshard();
  Begun begun;
  observer.progress("text", 0, 0);
  const base::Stopwatch text_watch;
  in_memory("text", settings, begun, [&] {
    begun.prompt_1TE = pipeline.encode_prompt(prepared.prompt).embeds_1TE;
    if (pipeline::is_guided(settings)) begun.negative_1TE = pipeline.encode_prompt(prepared.negative).embeds_1TE;
  });
  begun.timings["text"] = prepared.seconds + text_watch.seconds();

  const base::Stopwatch picture_watch;
  in_memory("picture", settings, begun, [&] { begun.image = pipeline.encode_pictures(settings, prepared.pictures); });
  if (!settings.image.empty()) begun.timings["image"] = picture_watch.seconds();
  if (decides()) {
    begun.state = load_state(checkpointing.path, parts_->key(settings, prepared, checkpointing.job), parts_->log);
  }
  if (agreement()) begun.state = agreement()->same_state(begun.state);
  begun.resumed_step = begun.state ? begun.state->sampler.next_step : 0;
  return begun;
}

job::MemoryPlan VideoMaker::plan_for(const settings::Settings& settings) const {
  const job::DeviceMemory memory = parts_->memory_here();
  try {
    return job::fitting_plan(memory, settings);
  } catch (const base::Error& e) {
    if (!memory.failed.empty()) {  // by the figures it would fit: another renderer may have the room
      throw base::Error(base::ErrorKind::device_memory, std::string(e.what()) + "; plans that needed " +
                                                            job::to_text(memory.failed) +
                                                            " bytes have run out of memory here");
    }
    if (parts_->seat.size >= parts_->planned.size) throw;
    throw base::Error(base::ErrorKind::device_memory,
                      std::string(e.what()) + "; weights were to be sharded over " +
                          std::to_string(parts_->planned.size) + " ranks, and " + std::to_string(parts_->seat.size) +
                          (parts_->seat.size == 1 ? " is" : " are") + " left: start the run again");
  }
}

/// As the ranks that are here want it, who may be fewer than planned.
void VideoMaker::reshard() {
  if (!parts_->planned.sharded() || parts_->held == parts_->seat) return;
  parts_->log.warn("shard-weights", "the transformers' blocks were sharded over " + std::to_string(parts_->held.size) +
                                        " ranks, and " + std::to_string(parts_->seat.size) +
                                        " render: they are read again");
  parts_->pipeline.reshard(parts_->seat);
  parts_->held = parts_->seat;
}

void VideoMaker::adopt(const settings::Settings& settings, const Prepared& prepared) {
  parts_->pipeline.check(settings);
  parts_->plan = plan_for(settings);
  parts_->pipeline.adopt(parts_->plan);
  parts_->pipeline.use_loras(prepared.loras);  // before any work is lost on files that do not fit
}

template <class Stage>
void VideoMaker::in_memory(const std::string& stage, const settings::Settings& settings, Begun& begun,
                           const Stage& run) {
  for (;;) {
    try {
      return run();
    } catch (const c10::OutOfMemoryError& e) {
      answer_out_of_memory(stage, settings, begun, e.what_without_backtrace());
    }
  }
}

// What the stage held is gone by now. A group's other members are in the middle of it: for them there is no next plan.
void VideoMaker::answer_out_of_memory(const std::string& stage, const settings::Settings& settings, Begun& begun,
                                      const std::string& why) {
  std::uint64_t& failed = parts_->memory.failed[stage];
  const std::uint64_t needed = parts_->plan.bytes_at(stage);
  failed = failed == 0 ? needed : std::min(failed, needed);
  pipeline::release_all_unused(parts_->device);
  const auto next = job::next_plan(parts_->memory_here(), settings, parts_->plan);
  const std::string what = "out of memory in stage " + stage + ": " + why;
  if (agreement() || begun.had_less_memory || !next) throw OutOfMemory(what, job::to_text(parts_->memory.failed));
  parts_->log.warn("out-of-memory", what + "; once more with " + job::summary(*next, settings));
  begun.had_less_memory = true;
  parts_->plan = *next;
  parts_->pipeline.adopt(*next);
}

void VideoMaker::denoise(const settings::Settings& settings, const Prepared& prepared,
                         const Checkpointing& checkpointing, const RenderObserver& observer,
                         std::optional<std::int64_t> pause_after, Rendered& out, Begun& begun) {
  const StateKey key = parts_->key(settings, prepared, checkpointing.job);
  Schedule schedule(checkpointing);
  std::optional<pipeline::DenoiseState> paused;
  pipeline::DenoiseObserver watcher;
  watcher.cancel = observer.cancel;
  watcher.on_step = [&](std::int64_t done, std::int64_t steps) {
    observer.progress("denoise", done, steps);
    if (!decides()) return pipeline::AfterStep::go_on;  // rank 0 wants what all then do
    if (observer.stop_asked && observer.stop_asked() && !checkpointing.path.empty() && done < steps) {
      return pipeline::AfterStep::save_and_stop;
    }
    if (done == pause_after) return pipeline::AfterStep::pause;
    return schedule.due(done, steps) ? pipeline::AfterStep::save : pipeline::AfterStep::go_on;
  };
  watcher.save = [&](const pipeline::DenoiseState& state) {
    paused = state;
    if (checkpointing.path.empty() || !decides()) return;
    try {
      save_state(checkpointing.path, key, state, job::to_json(parts_->plan));
      if (observer.saved) observer.saved(state.sampler.next_step);
    } catch (const base::Error&) {
      if (!agreement()) throw;
      begun.unsaved = std::current_exception();  // the others have gone on to the next step
      observer.cancel.cancel();
    }
  };
  observer.progress("denoise", begun.state ? begun.state->sampler.next_step : 0, settings.num_inference_steps);
  out.unused_keys = parts_->pipeline.use_loras(prepared.loras);  // another video of a wave may have used others
  try {
    const auto denoised =
        parts_->pipeline.denoise(settings, begun.prompt_1TE, begun.negative_1TE, watcher, begun.state, begun.image);
    begun.timings["denoise"] += denoised.seconds;
    out.latents_CFYX = denoised.latents_CFYX;
  } catch (const base::Error& e) {
    if (begun.unsaved && e.kind() == base::ErrorKind::interrupted) std::rethrow_exception(begun.unsaved);
    throw;
  }
  if (pause_after) begun.state = std::move(paused);
}

Rendered VideoMaker::finish(const settings::Settings& settings, const Prepared& prepared,
                            const Checkpointing& checkpointing, const RenderObserver& observer, Begun begun) {
  auto& pipeline = parts_->pipeline;
  parts_->plan = plan_for(settings);
  pipeline.adopt(parts_->plan);
  Rendered out;
  in_memory("denoise", settings, begun,
            [&] { denoise(settings, prepared, checkpointing, observer, std::nullopt, out, begun); });
  out.resumed_step = begun.resumed_step;
  out.lora_digests = pipeline::digests(prepared.loras);
  out.timings = std::move(begun.timings);

  if (agreement()) agreement()->together([&] { observer.cancel.throw_if_cancelled(); });
  observer.progress("decode", 0, settings.num_frames);
  out.frames_FHW3 = at::empty({settings.num_frames, settings.height, settings.width, 3}, at::kByte);
  in_memory("decode", settings, begun, [&] {
    std::int64_t at_frame = 0;
    out.timings["decode"] = pipeline.decode(
        out.latents_CFYX,
        [&](const at::Tensor& piece_FHW3) {
          out.frames_FHW3.slice(0, at_frame, at_frame + piece_FHW3.size(0)).copy_(piece_FHW3);
          at_frame += piece_FHW3.size(0);
          observer.progress("decode", at_frame, settings.num_frames);
        },
        observer.cancel);
  });
  out.plan = job::to_json(parts_->plan);
  return out;
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
    archive.model = parts_->facts.model;
    std::copy_n(latents.sizes().begin(), 4, archive.latents_shape.begin());
    archive.latents = {latents.const_data_ptr<float>(), static_cast<std::size_t>(latents.numel())};
    if (files.archive_content == "frames") archive.frames = frames;
    media::write_archive(files.archive, archive);
  }
  rendered.timings["encode"] = watch.seconds();
}

}  // namespace nightreel::render

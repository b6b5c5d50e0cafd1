// Whole videos, from tokens to frames: of two experts, with a picture, TI2V, with CLIP; weights that come and go.
#include <ATen/ATen.h>

#include <algorithm>

#include "gpu/check.h"
#include "gpu/random_model.h"
#include "nightreel/memory/plan.h"
#include "nightreel/pipeline/pipeline.h"
#include "pipeline/moving.h"

namespace nightreel::proof {

namespace {

using memory::MemoryPlan;
using Experts = MemoryPlan::Experts;
using pipeline::Pipeline;
using test::moving_plan;

constexpr double kLatentLimit = 2e-4;  // of the largest latent in float32

struct Video {
  std::string name;
  std::string dir;
  settings::Settings settings;
  std::string lora;  // none: empty
};

struct MadeVideo {
  at::Tensor latents_CFYX;
  at::Tensor frames_FHW3;
};

struct Held {
  at::ScalarType dtype = at::kFloat;
  bool fp8 = false;
  MemoryPlan plan;
};

Pipeline load_video(const Video& video, at::Device device, const Held& held) {
  pipeline::PipelineOptions options;
  options.device = device;
  options.dtype = held.dtype;
  options.fp8 = held.fp8;
  options.plan = held.plan;
  return Pipeline::load(card::read(video.dir), options);
}

pipeline::Pictures pictures_for(const Video& video, const Pipeline& pipeline) {
  if (video.settings.image.empty()) return {};
  at::manual_seed(6);
  pipeline::Pictures pictures;
  // A square on a ground: noise is what no model has learned from, and small errors grow on it.
  const std::int64_t side = video.settings.height;
  pictures.first_HW3 = at::full({side, video.settings.width, 3}, 30, at::kByte);
  pictures.first_HW3.narrow(0, side / 4, side / 2).narrow(1, side / 4, side / 2).select(2, 0).fill_(220);
  if (const auto square = pipeline.clip_square()) {
    pictures.clip_first_SS3 = at::randint(0, 256, {square->side, square->side, 3}).to(at::kByte);
  }
  return pictures;
}

MadeVideo make_video(Pipeline& pipeline, const Video& video, std::int64_t token = 5) {
  const at::Tensor prompt = pipeline.encode_prompt({token, 17, 99, 3, 1}).embeds_1TE;
  const at::Tensor negative = pipeline.encode_prompt({9, 1}).embeds_1TE;
  const auto image = pipeline.encode_pictures(video.settings, pictures_for(video, pipeline));
  MadeVideo made;
  made.latents_CFYX = pipeline.denoise({video.settings, prompt, negative, image}).latents_CFYX;
  made.frames_FHW3 = test::decoded(pipeline, made.latents_CFYX);
  return made;
}

MadeVideo make_video(const Video& video, at::Device device, const Held& held) {
  Pipeline pipeline = load_video(video, device, held);
  return make_video(pipeline, video);
}

/// Of several seeds: how one video's errors grow is chance.
at::Tensor latents_of_seeds(Video video, at::Device device, const Held& held) {
  Pipeline pipeline = load_video(video, device, held);
  std::vector<at::Tensor> latents;
  for (std::uint64_t seed = 7; seed < 10; ++seed) {
    video.settings.seed = seed;
    latents.push_back(make_video(pipeline, video).latents_CFYX);
  }
  return at::stack(latents);
}

double steps_of_colour(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kInt) - b.to(at::kInt)).abs().max().item<double>();
}

/// Frames in float32 are one step of 255 apart at most: a rounding that falls the other way.
std::vector<Measured> exact_video(const Video& video) {
  const MadeVideo here = make_video(video, at::kCPU, {});
  const MadeVideo there = make_video(video, kGpu, {});
  Measured latents = largest(there.latents_CFYX, here.latents_CFYX, kLatentLimit);
  latents.what += " latent";
  return {latents, {"largest step of colour", steps_of_colour(there.frames_FHW3, here.frames_FHW3), 1}};
}

std::vector<Measured> narrow_video(const Video& video) {
  const Held narrow{at::kBFloat16, false, {}};
  return as_near(latents_of_seeds(video, kGpu, narrow), latents_of_seeds(video, at::kCPU, narrow),
                 latents_of_seeds(video, at::kCPU, {}));
}

std::vector<Measured> fp8_video(const Video& video) {
  const Held held{at::kBFloat16, true, {}};
  return as_near_in_fp8(latents_of_seeds(video, kGpu, held), latents_of_seeds(video, at::kCPU, held),
                        latents_of_seeds(video, at::kCPU, {}));
}

const char* word_for(Experts experts) {
  if (experts == Experts::stay) return "stay";
  return experts == Experts::take_turns ? "take turns" : "leave";
}

/// Two videos, so that what left comes back. The same kernels on the same numbers: the same bits.
std::vector<Measured> moving_video(const Video& video, const Held& moved) {
  Held stays = moved;
  stays.plan = {};
  Pipeline staying = load_video(video, kGpu, stays);
  Pipeline moving = load_video(video, kGpu, moved);
  double worst = 0;
  for (const std::int64_t token : {5, 6}) {
    const MadeVideo want = make_video(staying, video, token);
    const MadeVideo made = make_video(moving, video, token);
    worst = std::max({worst, largest(made.latents_CFYX, want.latents_CFYX, 0).deviation,
                      steps_of_colour(made.frames_FHW3, want.frames_FHW3)});
  }
  return {{"largest, from weights that stay", worst, 0}};
}

Video with_loras(Video video, bool used) {
  video.settings.loras.clear();
  if (used) video.settings.loras.push_back({video.lora, 0.8, "both"});
  return video;
}

/// With a LoRA, and after it the bits of before: also where its weights wait on the host meanwhile.
std::vector<Measured> lora_video(const Video& plain, const Held& held) {
  pipeline::LoraFiles files;
  const Video merged = with_loras(plain, true);
  const auto use = [&](Pipeline& pipeline, const Video& video) {
    pipeline.use_loras(pipeline::open_loras(video.settings.loras, files));
    return make_video(pipeline, video).latents_CFYX;
  };
  Pipeline here = load_video(plain, at::kCPU, {});
  Pipeline there = load_video(plain, kGpu, held);
  const at::Tensor before = use(there, plain);
  const at::Tensor made = use(there, merged);
  Measured latents = largest(made, use(here, merged), kLatentLimit);
  latents.what += " latent";
  // The other way round: what the LoRA changes must not be small.
  const Measured change = largest(made, before, 0);
  return {latents,
          {"what is left when it is gone", largest(use(there, plain), before, 0).deviation, 0},
          {"100 times the limit, of what it changes", 100 * kLatentLimit / change.deviation, 1}};
}

settings::Settings settings_for(std::int64_t height, std::int64_t width, std::int64_t frames, std::int64_t steps) {
  settings::Settings settings;
  settings.height = height;
  settings.width = width;
  settings.num_frames = frames;
  settings.num_inference_steps = steps;
  settings.seed = 7;
  settings.guidance_scale = 4;
  return settings;
}

std::vector<Video> all_videos(const Places& places) {
  std::vector<Video> videos;
  for (const RandomModel& random : random_models()) {
    const std::int64_t cell = random.expand_timesteps ? 32 : 16;  // what sizes are multiples of
    Video video{random.name, places.random + "/" + random.name, settings_for(2 * cell, 3 * cell, 5, 3), ""};
    if (random.two_experts) video.settings.boundary_ratio = 0.8;
    if (random.two_experts) video.settings.guidance_scale_2 = 3;
    // Nobody reads the file: the pixels are drawn here.
    if (random.name != "t2v") video.settings.image = "first.png";
    if (random.name == "t2v") video.lora = places.random + "/lora-t2v.safetensors";
    videos.push_back(video);
  }
  for (const char* name : {"shapes", "shapes-i2v"}) {
    Video video{name, places.models + "/" + name, settings_for(64, 64, 17, 4), ""};
    video.settings.boundary_ratio = 0.8;
    video.settings.guidance_scale = 3;
    if (std::string(name) == "shapes-i2v") video.settings.image = "first.png";
    videos.push_back(video);
  }
  return videos;
}

std::string size_text(const Video& video) {
  const settings::Settings& settings = video.settings;
  return video.name + " " + std::to_string(settings.height) + "x" + std::to_string(settings.width) + "x" +
         std::to_string(settings.num_frames);
}

void add_residency(std::vector<Check>& checks, const Video& video) {
  const bool two = video.settings.boundary_ratio.has_value();
  for (const Experts experts : {Experts::stay, Experts::take_turns, Experts::leave}) {
    if (experts == Experts::take_turns && !two) continue;
    for (const bool encoders : {false, true}) {
      for (const bool vae : {false, true}) {
        if (experts == Experts::stay && !encoders && !vae) continue;  // nothing moves
        const std::string size = size_text(video) + ", experts " + word_for(experts) + ", encoders " +
                                 (encoders ? "leave" : "stay") + ", VAE " + (vae ? "leaves" : "stays");
        const MemoryPlan plan = moving_plan(encoders, experts, vae, two);
        const bool quick = video.name == "t2v" && experts == Experts::leave && encoders && vae;
        for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
          checks.push_back({"residency", name_of(dtype), size, quick && dtype == at::kBFloat16, [=] {
                              return moving_video(video, {dtype, false, plan});
                            }});
        }
        checks.push_back({"residency", "fp8", size, quick && experts == Experts::leave, [=] {
                            return moving_video(video, {at::kBFloat16, true, plan});
                          }});
      }
    }
  }
}

}  // namespace

void add_pipelines(std::vector<Check>& checks, const Places& places) {
  for (const Video& video : all_videos(places)) {
    const bool quick = video.name.find("shapes") == std::string::npos;
    checks.push_back({"video", "f32", size_text(video), quick, [=] { return exact_video(video); }});
    checks.push_back({"video", "bf16", size_text(video) + ", 3 seeds", quick, [=] { return narrow_video(video); }});
    checks.push_back(
        {"video", "fp8", size_text(video) + ", 3 seeds", video.name == "t2v", [=] { return fp8_video(video); }});
    if (video.name == "t2v" || video.name == "clip") add_residency(checks, video);
    if (video.lora.empty()) continue;
    checks.push_back({"lora-video", "f32", size_text(video), true, [=] { return lora_video(video, {}); }});
    const MemoryPlan leaves = moving_plan(true, Experts::leave, true, true);
    checks.push_back({"lora-video", "f32", size_text(video) + ", weights leave", false, [=] {
                        return lora_video(video, {at::kFloat, false, leaves});
                      }});
  }
}

}  // namespace nightreel::proof

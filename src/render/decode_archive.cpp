// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures.
#include "nightreel/render/decode_archive.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/random.h"
#include "nightreel/media/archive.h"
#include "nightreel/memory/plan.h"
#include "nightreel/model/vae.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/pipeline/frames.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/pipeline/memory_model.h"
#include "nightreel/settings/json.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;

constexpr double kMostFps = 1000;

// What a failure leaves.
struct Leftover {
  const std::string& path;
  ~Leftover() { std::remove(path.c_str()); }
};

[[noreturn]] void refuse(const DecodeOptions& options, const std::string& why) {
  throw Error(ErrorKind::usage, base::printable(options.archive) + ": " + why);
}

std::string path_in(const DecodeOptions& options, const media::Archive& archive) {
  const auto path = archive.model.find("path");
  if (path == archive.model.end() || !path->is_string()) {
    refuse(options, "model: path: no text; name the model with --model DIR");
  }
  return path->get<std::string>();
}

// The folder that the archive was made with, unless another one is named.
std::string model_folder(const DecodeOptions& options, const media::Archive& archive) {
  const std::string folder = options.engine.model.empty() ? path_in(options, archive) : options.engine.model;
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorKind::model, options.archive + ": its model '" + base::printable(folder) +
                                      "' is not here; name one with --model DIR");
  }
  return folder;
}

// An archive may be anybody's: what it says is held against what it has.
settings::Settings settings_in(const DecodeOptions& options, const media::Archive& archive) {
  settings::Settings settings;
  try {
    settings = settings::settings_from_json(archive.settings);
  } catch (const Error& e) {
    const std::string why = e.what();  // "settings: [json.exception.out_of_range.403] key 'prompt' not found"
    const auto bracket = why.find("] ");
    refuse(options, bracket == std::string::npos ? base::printable(why)
                                                 : "settings: " + base::printable(why.substr(bracket + 2)));
  }
  if (!(settings.fps > 0 && settings.fps <= kMostFps)) refuse(options, "settings: fps: is none; give --fps");
  return settings;
}

// A run's latents are finite, or it fails.
void check_finite(const DecodeOptions& options, const media::Archive& archive) {
  const auto bad =
      std::find_if(archive.latents.begin(), archive.latents.end(), [](float x) { return !std::isfinite(x); });
  if (bad == archive.latents.end()) return;
  refuse(options, "latents: number " + std::to_string(bad - archive.latents.begin()) + " is not finite");
}

// Of a video that has these latents.
void take_sizes(settings::Settings& settings, const media::Archive& archive, const card::VaeConfig& vae) {
  settings.num_frames = (archive.latents_shape[1] - 1) * vae.scale_factor_temporal + 1;
  settings.height = archive.latents_shape[2] * vae.scale_factor_spatial;
  settings.width = archive.latents_shape[3] * vae.scale_factor_spatial;
}

// Whether the GPU cannot hold whole pictures' decoding beside the VAE.
bool in_tiles(model::Vae& vae, settings::Settings settings, at::Device device, std::uint64_t gpu_memory) {
  settings.image.clear();
  const auto memory = pipeline::vae_memory_model(vae, pipeline::allocator_of(device));
  const std::uint64_t bytes = gpu_memory > 0 ? gpu_memory : pipeline::memory_to_plan_with(device);
  return memory::fitting_plan({memory, bytes}, settings).tiled.decode;
}

}  // namespace

void decode_archive(const DecodeOptions& options) {
  if (!std::filesystem::is_regular_file(options.archive)) refuse(options, "is no file");
  // Before LibTorch starts a thread: the parser forks.
  const media::Archive archive = media::read_archive(options.archive);
  settings::Settings settings = settings_in(options, archive);
  check_finite(options, archive);
  const c10::InferenceMode inference;
  at::set_num_threads(options.engine.threads);
  const at::Device device = pipeline::choose_device(options.engine.device);
  model::Vae vae = model::Vae::load(model_folder(options, archive) + "/vae", device, at::kFloat);
  if (archive.latents_shape[0] != vae.config().z_dim) {
    throw Error(ErrorKind::usage, options.archive + ": has latents of " + std::to_string(archive.latents_shape[0]) +
                                      " channels, the model's VAE takes " + std::to_string(vae.config().z_dim));
  }
  take_sizes(settings, archive, vae.config());
  const at::Tensor latents_CFYX = at::empty(archive.latents_shape, at::kFloat);
  std::copy(archive.latents.begin(), archive.latents.end(), latents_CFYX.mutable_data_ptr<float>());

  const std::string temporary = base::parent_folder(options.output) + "/." + base::random_hex(8) + ".part";
  const Leftover leftover{temporary};
  media::VideoOptions video = options.video;
  if (video.fps <= 0) video.fps = settings.fps;
  const auto scale = vae.config().scale_factor_spatial;
  media::VideoWriter writer(temporary, archive.latents_shape[2] * scale, archive.latents_shape[3] * scale, video);
  pipeline::decode_frames(
      vae, latents_CFYX, {in_tiles(vae, settings, device, options.engine.gpu_memory), nullptr},
      [&](const at::Tensor& frames_FHW3) {
        for (const at::Tensor& frame : frames_FHW3.unbind(0)) {
          writer.add_frame({frame.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(frame.numel())});
        }
      });
  writer.finish();
  base::rename_file(temporary, options.output);
}

}  // namespace nightreel::render

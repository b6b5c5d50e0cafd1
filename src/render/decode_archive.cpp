// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures.
#include "nightreel/render/decode_archive.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/random.h"
#include "nightreel/job/memory.h"
#include "nightreel/job/settings.h"
#include "nightreel/media/archive.h"
#include "nightreel/model/vae.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/pipeline/frames.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/pipeline/memory_model.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;

// The folder that the archive was made with, unless another one is named.
std::string model_folder(const DecodeOptions& options, const media::Archive& archive) {
  const std::string folder = options.model.empty() ? archive.model.value("path", std::string()) : options.model;
  if (!std::filesystem::is_directory(folder)) {
    throw Error(ErrorKind::model, options.archive + ": its model '" + base::printable(folder) +
                                      "' is not here; name one with --model DIR");
  }
  return folder;
}

// Whether the GPU cannot hold whole pictures' decoding beside the VAE.
bool in_tiles(model::Vae& vae, job::Settings settings, at::Device device, std::uint64_t gpu_memory) {
  settings.image.clear();
  const auto memory = pipeline::vae_memory_model(vae, pipeline::allocator_of(device));
  const std::uint64_t bytes = gpu_memory > 0 ? gpu_memory : pipeline::memory_to_plan_with(device);
  return job::fitting_plan({memory, bytes}, settings).tiled.decode;
}

}  // namespace

void decode_archive(const DecodeOptions& options) {
  // Before LibTorch starts a thread: the parser forks.
  const media::Archive archive = media::read_archive(options.archive);
  const job::Settings settings = job::settings_from_json(archive.settings);
  const c10::InferenceMode inference;
  at::set_num_threads(options.threads);
  const at::Device device = pipeline::choose_device(options.device);
  model::Vae vae = model::Vae::load(model_folder(options, archive) + "/vae", device, at::kFloat);
  if (archive.latents_shape[0] != vae.config().z_dim) {
    throw Error(ErrorKind::usage, options.archive + ": has latents of " + std::to_string(archive.latents_shape[0]) +
                                      " channels, the model's VAE takes " + std::to_string(vae.config().z_dim));
  }
  const at::Tensor latents_CFYX = at::empty(archive.latents_shape, at::kFloat);
  std::copy(archive.latents.begin(), archive.latents.end(), latents_CFYX.mutable_data_ptr<float>());

  const std::string temporary = base::parent_folder(options.output) + "/." + base::random_hex(8) + ".part";
  media::VideoOptions video = options.video;
  if (video.fps <= 0) video.fps = settings.fps;
  const auto scale = vae.config().scale_factor_spatial;
  media::VideoWriter writer(temporary, archive.latents_shape[2] * scale, archive.latents_shape[3] * scale, video);
  pipeline::decode_frames(
      vae, latents_CFYX, {in_tiles(vae, settings, device, options.gpu_memory), nullptr},
      [&](const at::Tensor& frames_FHW3) {
        for (const at::Tensor& frame : frames_FHW3.unbind(0)) {
          writer.add_frame({frame.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(frame.numel())});
        }
      });
  writer.finish();
  if (std::rename(temporary.c_str(), options.output.c_str()) != 0)
    base::throw_errno("cannot rename to", options.output);
}

}  // namespace nightreel::render

// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures, N frames of the video.
#include "pipeline/picture_condition.h"

#include <ATen/ATen.h>

#include "nightreel/base/error.h"

namespace nightreel::pipeline {

namespace {

/// uint8 [H, W, 3] to [3, H, W] in [-1, 1], float32: diffusers' VaeImageProcessor (pil_to_numpy, normalize).
at::Tensor pixels_of(const at::Tensor& picture_HW3, const settings::Settings& settings) {
  const std::vector<std::int64_t> wanted{settings.height, settings.width, 3};
  if (!picture_HW3.defined() || picture_HW3.scalar_type() != at::kByte || picture_HW3.sizes() != wanted) {
    throw base::Error(base::ErrorKind::internal, "encode_pictures: a picture is missing or not of the video's size");
  }
  return (picture_HW3.to(at::kFloat) / 255).mul_(2).sub_(1).permute({2, 0, 1});
}

at::Tensor encode(const model::Vae& vae, const at::Tensor& pixels_13NHW, const Coding& coding) {
  return (coding.tiled ? vae.encode_tiled(pixels_13NHW, {}) : vae.encode(pixels_13NHW, coding.group)).to(at::kFloat);
}

}  // namespace

at::Tensor first_frame_condition(const model::Vae& vae, const settings::Settings& settings, const Pictures& pictures,
                                 const Coding& coding) {
  return encode(vae, pixels_of(pictures.first_HW3, settings).unsqueeze(1).unsqueeze(0), coding);
}

at::Tensor frames_condition(const model::Vae& vae, const settings::Settings& settings, const Pictures& pictures,
                            const Coding& coding) {
  const bool has_last = !settings.last_image.empty();
  at::Tensor pixels_13NHW = at::zeros({1, 3, settings.num_frames, settings.height, settings.width});
  pixels_13NHW[0].select(1, 0).copy_(pixels_of(pictures.first_HW3, settings));
  if (has_last) pixels_13NHW[0].select(1, -1).copy_(pixels_of(pictures.last_HW3, settings));
  const at::Tensor latents_1CFYX = encode(vae, pixels_13NHW, coding);

  // The first latent frame stands for one frame alone, which counts scale_factor_temporal times.
  const std::int64_t frames_a_latent = vae.config().scale_factor_temporal;
  at::Tensor given_N = at::zeros({latents_1CFYX.size(2) * frames_a_latent}, latents_1CFYX.options());
  given_N.slice(0, 0, frames_a_latent).fill_(1);
  if (has_last) given_N[-1].fill_(1);
  const at::Tensor mask_1CFYX =
      given_N.view({-1, frames_a_latent})
          .t()
          .unsqueeze(0)
          .unsqueeze(-1)
          .unsqueeze(-1)
          .expand({1, frames_a_latent, latents_1CFYX.size(2), latents_1CFYX.size(3), latents_1CFYX.size(4)});
  return at::cat({mask_1CFYX, latents_1CFYX}, 1);
}

}  // namespace nightreel::pipeline

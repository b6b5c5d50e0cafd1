// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures.
#include "nightreel/pipeline/frames.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "nightreel/model/vae.h"

namespace nightreel::pipeline {

void decode_frames(const model::Vae& vae, const at::Tensor& latents_CFYX, bool tiled, const FrameSink& sink) {
  const c10::InferenceMode inference;
  const at::Tensor latents_1CFYX = latents_CFYX.unsqueeze(0);
  if (tiled) {
    sink(vae.decode_tiled(latents_1CFYX, {}, at::kByte)[0].permute({1, 2, 3, 0}).contiguous());
    return;
  }
  vae.decode(latents_1CFYX, [&](const at::Tensor& pixels_13FHW) {
    sink(model::to_bytes(pixels_13FHW[0]).permute({1, 2, 3, 0}).contiguous().cpu());
  });
}

}  // namespace nightreel::pipeline

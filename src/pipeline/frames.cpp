// C channels, F frames, Y rows, X columns of the latents; H, W of the pictures.
#include "nightreel/pipeline/frames.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "nightreel/model/vae.h"

namespace nightreel::pipeline {

void decode_frames(const model::Vae& vae, const at::Tensor& latents_CFYX, const Coding& coding, const FrameSink& sink) {
  const c10::InferenceMode inference;
  const at::Tensor latents_1CFYX = latents_CFYX.unsqueeze(0);
  if (coding.tiled) {
    sink(vae.decode_tiled(latents_1CFYX, {}, at::kByte)[0].permute({1, 2, 3, 0}).contiguous());
    return;
  }
  const auto finish = [&](const at::Tensor& pixels_13FHW) {
    sink(model::to_bytes(pixels_13FHW[0]).permute({1, 2, 3, 0}).contiguous().cpu());
  };
  vae.decode(latents_1CFYX, finish, coding.group);
}

}  // namespace nightreel::pipeline

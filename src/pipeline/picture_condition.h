// From the pictures that a video begins and ends with to the latents that condition it.
//
// Follows diffusers 0.42.1, WanImageToVideoPipeline.prepare_latents (pipelines/wan/pipeline_wan_i2v.py). Coding
// is pipeline/frames.h's.
#pragma once

#include <ATen/core/Tensor.h>

#include "nightreel/model/vae.h"
#include "nightreel/pipeline/frames.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/settings/settings.h"

namespace nightreel::pipeline {

/// The first picture as one latent frame, [1, C, 1, Y, X] float32: what stands in place of the video's first.
at::Tensor first_frame_condition(const model::Vae& vae, const settings::Settings& settings, const Pictures& pictures,
                                 const Coding& coding);

/// [1, scale_factor_temporal + C, F, Y, X] float32: for each latent frame a mask that tells which of the frames that it
/// stands for are given, then the latents of a video that is grey but for these.
at::Tensor frames_condition(const model::Vae& vae, const settings::Settings& settings, const Pictures& pictures,
                            const Coding& coding);

}  // namespace nightreel::pipeline

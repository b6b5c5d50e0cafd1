// The configurations of the published models' parts, as Diffusers and transformers write them: what Wan's own code
// holds as constants and its folders do not say.
#pragma once

#include "nightreel/base/json.h"

namespace nightreel::card {

base::Json published_scheduler(double flow_shift);
base::Json published_vae21();          // Wan2.1_VAE.pth
base::Json published_vae22();          // Wan2.2_VAE.pth
base::Json published_text_encoder();   // google/umt5-xxl
base::Json published_image_encoder();  // CLIP ViT-H/14, laion2B
base::Json published_processor();

}  // namespace nightreel::card

// From the planes of a decoded picture to RGB, with the very arithmetic of the library behind Pillow.
#pragma once

#include "media/libav_still.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// 4:2:0 with limited range, as lossy WebP has it: libwebp's fancy upsampling (upsampling.c, yuv.h).
Image webp_to_rgb(const av::Still& still);

}  // namespace nightreel::media

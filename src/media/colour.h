// From the planes of a decoded picture to RGB, with the very arithmetic of the libraries behind Pillow.
#pragma once

#include "media/libav_still.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// Luma and two planes of chroma, halved across (`half_x`) or down (`half_y`) or not, as JPEG has them: libjpeg-turbo's
/// "fancy" interpolation (jdsample.c) and full-range BT.601 (jdcolor.c).
Image jpeg_to_rgb(const av::Still& still, bool half_x, bool half_y);

/// 4:2:0 with limited range, as lossy WebP has it: libwebp's fancy upsampling (upsampling.c, yuv.h).
Image webp_to_rgb(const av::Still& still);

}  // namespace nightreel::media

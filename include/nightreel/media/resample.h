// Pictures brought to another size, bit for bit as Pillow does it.
//
// No state; any thread. Sizes below 1 are Error{internal}.
#pragma once

#include "nightreel/media/image_reader.h"

namespace nightreel::media {

enum class Filter { bicubic, lanczos };  // Pillow's BICUBIC (a = -0.5) and LANCZOS (a = 3)

/// Image.resize((width, height), filter) of Pillow 13 for 8-bit RGB: widened filters where the picture shrinks, one
/// axis after the other, 22-bit weights (src/libImaging/Resample.c).
Image resample(const Image& image, int width, int height, Filter filter);

}  // namespace nightreel::media

// How a picture's file says that it must be turned.
#pragma once

#include <string_view>

#include "media/image_format.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// Exif's Orientation, 1 to 8, of a file's bytes; 1 where the file says nothing, or nonsense.
int exif_orientation(std::string_view file, ImageFormat format);

/// The picture upright: orientation 1 leaves it, 2 to 8 mirror and turn it (Exif 2.3, tag 274).
Image turned(Image image, int orientation);

}  // namespace nightreel::media

// JPEG files by libjpeg-turbo, read as Pillow reads them; libav's decoder rounds its inverse transform otherwise.
#pragma once

#include <cstdint>
#include <string_view>

#include "media/jpeg_header.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// The pixels below `header`, not turned upright yet. What libjpeg-turbo conceals and warns of is in Image::warning; an
/// Error{job} is what it gives up on, a file that ends before its last row, or one of hundreds of scans. CMYK is taken
/// as Adobe writes it, inverted, and brought to RGB as Pillow does it.
Image read_jpeg(std::string_view bytes, const JpegHeader& header);

}  // namespace nightreel::media

// JPEG files by libjpeg-turbo, as Pillow reads them; libav's decoder rounds its inverse transform otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// Strict: what a viewer would conceal is an Error{job} with the reason. More than `max_pixels`, or hundreds of scans,
/// are refused before memory or time is spent on them. Not turned upright yet.
Image read_jpeg(std::string_view bytes, std::int64_t max_pixels);

}  // namespace nightreel::media

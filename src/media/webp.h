// WebP files by libwebp, as Pillow reads them; of an animated file its first picture.
#pragma once

#include <string_view>

#include "media/image_bytes.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

struct WebpHeader {
  std::uint64_t width = 0;
  std::uint64_t height = 0;
  ImageMetadata metadata;
};

/// Throws Error{job} where the file is cut off or holds no picture; what is in the pictures' data is not looked at.
WebpHeader read_webp_header(std::string_view file);

/// The pixels, not turned upright yet; transparency is left out. Throws Error{job}.
Image read_webp(std::string_view file, const WebpHeader& header);

}  // namespace nightreel::media

// What a JPEG file says before its pixels: size, components, Exif and XMP.
//
// Walks the segments as Pillow does (JpegImagePlugin.JpegImageFile._open): fill bytes and stray bytes between segments
// are passed over, several Exif segments are one. No state; any thread.
#pragma once

#include <string_view>

#include "media/image_bytes.h"

namespace nightreel::media {

struct JpegHeader {
  int width = 0;
  int height = 0;
  int components = 0;  // 1 grey, 3 colour, 4 CMYK
  ImageMetadata metadata;
  std::size_t scan = 0;  // where the first scan's segment begins, behind its marker
};

/// Throws Error{job} where the file ends before its first scan, or Pillow refuses its header.
JpegHeader read_jpeg_header(std::string_view file);

/// Whether the end of the picture is marked behind its scans: a file that was cut off has no such mark.
bool has_jpeg_end(std::string_view file, std::size_t scan);

}  // namespace nightreel::media

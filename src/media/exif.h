// How a picture's file says that it must be turned.
//
// As Pillow 13 does it (Image.getexif, ImageOps.exif_transpose, TiffImagePlugin.ImageFileDirectory_v2.load): diffusers'
// load_image goes through it, and users see what it does. No state; any thread.
#pragma once

#include <string>

#include "media/image_bytes.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// Orientation, 1 to 8, of tag 274 in Exif or else of tiff:Orientation in XMP; 1 where neither says it. Numbers of
/// every type and byte order count, texts and single bytes (type BYTE) do not, as in Pillow. Where Exif cannot be read
/// it is 1 and `warning` says so.
int orientation_of(const ImageMetadata& metadata, std::string& warning);

/// The picture upright: orientation 1 leaves it, 2 to 8 mirror and turn it (Exif 2.3, tag 274).
Image turned(Image image, int orientation);

}  // namespace nightreel::media

// PNG files, read as Pillow reads them: its own decoder, on zlib.
#pragma once

#include <string_view>

#include "media/png_chunks.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media {

/// The pixels of `chunks`, all of which are read, not turned upright yet. Rows that are missing where the stream ends
/// by itself stay black (of the palette's first colour), as with Pillow, and Image::warning says so. Of 16 bits the
/// higher eight count; transparency is left out.
Image read_png(PngChunks& chunks);

}  // namespace nightreel::media

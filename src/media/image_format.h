// Which kind of picture a file is, by its first bytes.
#pragma once

#include <string_view>

namespace nightreel::media {

/// The kinds of still pictures that are read.
enum class ImageFormat { png, jpeg, webp };

/// Told as Pillow tells it. Throws Error{job} for any other file, with the name of what it is where that is known.
ImageFormat format_of(std::string_view bytes);

/// PNG, JPEG, WebP.
const char* format_name(ImageFormat format);

}  // namespace nightreel::media

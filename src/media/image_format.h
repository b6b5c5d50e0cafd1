#pragma once

namespace nightreel::media {

/// The kinds of still pictures that are read, told by a file's first bytes.
enum class ImageFormat { png, jpeg, webp };

}  // namespace nightreel::media

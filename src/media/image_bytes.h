// What the readers of pictures share: numbers out of foreign bytes, the words of a refusal, and what a file says beside
// its pixels. Plain values and functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "nightreel/base/error.h"

namespace nightreel::media {

/// `size` (1 to 8) bytes at `at` as a number; nothing where they lie beyond the end.
inline std::optional<std::uint64_t> number_at(std::string_view bytes, std::size_t at, std::size_t size,
                                              bool big_endian) {
  if (at > bytes.size() || bytes.size() - at < size) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t place = big_endian ? i : size - 1 - i;
    value = value << 8U | static_cast<std::uint8_t>(bytes[at + place]);
  }
  return value;
}

[[noreturn]] inline void refuse_damaged(const std::string& why) {
  throw base::Error(base::ErrorKind::job, "is damaged or cut off: " + why);
}

/// Throws Error{job} for more pixels than `most`, before memory is taken for them.
inline void check_pixels(std::uint64_t width, std::uint64_t height, std::int64_t most) {
  if (width == 0 || height == 0) refuse_damaged("it has no pixels");
  if (height <= static_cast<std::uint64_t>(most) / width) return;
  throw base::Error(base::ErrorKind::job, "has " + std::to_string(width) + "x" + std::to_string(height) +
                                              " pixels, more than " + std::to_string(most) + " in all: scale it down");
}

/// Where a file may say how it is turned, as Pillow collects it (Image.info).
struct ImageMetadata {
  std::optional<std::string> exif;         // with or without "Exif\0\0" in front
  std::optional<std::string> raw_profile;  // PNG's text "Raw profile type exif": hex digits below three lines
  std::string xmp;
};

}  // namespace nightreel::media

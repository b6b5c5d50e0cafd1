#include "media/exif.h"

#include <cstdint>
#include <optional>

namespace nightreel::media {
namespace {

/// Numbers out of foreign bytes: what lies beyond the end is nothing.
class Bytes {
 public:
  Bytes(std::string_view bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}
  std::optional<std::uint32_t> number(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t place = big_endian_ ? i : size - 1 - i;
      value = value << 8U | static_cast<std::uint8_t>(bytes_[at + place]);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool big_endian_;
};

/// A TIFF header and the first list of tags behind it.
int tiff_orientation(std::string_view tiff) {
  constexpr std::uint32_t kOrientation = 0x0112;
  constexpr std::uint32_t kShort = 3;
  const std::string_view order = tiff.substr(0, 2);
  if (order != "II" && order != "MM") return 1;
  const Bytes bytes(tiff, order == "MM");
  const auto list = bytes.number(4, 4);
  const auto count = list ? bytes.number(*list, 2) : std::nullopt;
  for (std::uint32_t i = 0; count && i < *count; ++i) {
    const std::size_t entry = std::size_t{*list} + 2 + std::size_t{i} * 12;
    if (bytes.number(entry, 2) != kOrientation || bytes.number(entry + 2, 2) != kShort) continue;
    const std::uint32_t value = bytes.number(entry + 8, 2).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

std::string_view without_prefix(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix ? text.substr(prefix.size()) : text;
}

constexpr std::string_view kExif("Exif\0\0", 6);

/// Segments FF xx, length (with its own two bytes), content; the picture's data begin behind the last of them.
std::string_view jpeg_exif(std::string_view file) {
  constexpr std::uint32_t kApp1 = 0xFFE1;
  constexpr std::uint32_t kStartOfScan = 0xFFDA;
  const Bytes bytes(file, /*big_endian=*/true);
  std::size_t at = 2;
  for (;;) {
    const auto marker = bytes.number(at, 2);
    const auto length = bytes.number(at + 2, 2);
    if (!marker || !length || *marker < 0xFF00 || *marker == kStartOfScan || *length < 2) return {};
    const std::string_view content = file.substr(at + 4).substr(0, *length - 2);
    if (*marker == kApp1 && content.substr(0, kExif.size()) == kExif) return content.substr(kExif.size());
    at += 2 + std::size_t{*length};
  }
}

/// Chunks: length and type, or type and length; content; what fills them up.
struct ChunkLayout {
  std::size_t start, length_at, type_at, overhead;
  bool big_endian, even;
  std::string_view exif_type;
};
constexpr ChunkLayout kPng{8, 0, 4, 12, true, false, "eXIf"};
constexpr ChunkLayout kWebp{12, 4, 0, 8, false, true, "EXIF"};

std::string_view chunk_exif(std::string_view file, const ChunkLayout& layout) {
  const Bytes bytes(file, layout.big_endian);
  std::size_t at = layout.start;
  for (;;) {
    const auto length = bytes.number(at + layout.length_at, 4);
    if (!length || at + 8 > file.size()) return {};
    if (file.substr(at + layout.type_at, 4) == layout.exif_type) {
      return without_prefix(file.substr(at + 8).substr(0, *length), kExif);
    }
    at += layout.overhead + *length + (layout.even ? *length % 2 : 0);
  }
}

}  // namespace

int exif_orientation(std::string_view file, ImageFormat format) {
  switch (format) {
    case ImageFormat::jpeg:
      return tiff_orientation(jpeg_exif(file));
    case ImageFormat::png:
      return tiff_orientation(chunk_exif(file, kPng));
    case ImageFormat::webp:
      return tiff_orientation(chunk_exif(file, kWebp));
  }
  return 1;
}

Image turned(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swaps = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright{swaps ? image.height : image.width, swaps ? image.width : image.height, {}};
  upright.rgb.reserve(image.rgb.size());
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      const int column = swaps ? y : x;
      const int row = swaps ? x : y;
      const int from_x = from_right ? image.width - 1 - column : column;
      const int from_y = from_below ? image.height - 1 - row : row;
      const auto at = (static_cast<std::size_t>(from_y) * static_cast<std::size_t>(image.width) +
                       static_cast<std::size_t>(from_x)) *
                      3;
      for (std::size_t channel = 0; channel < 3; ++channel) upright.rgb.push_back(image.rgb[at + channel]);
    }
  }
  return upright;
}

}  // namespace nightreel::media

#include "nightreel/media/image_reader.h"

#include <array>
#include <cstring>
#include <functional>
#include <optional>

#include "media/colour.h"
#include "media/exif.h"
#include "media/image_format.h"
#include "media/jpeg.h"
#include "media/libav_still.h"
#include "nightreel/base/error.h"
#include "nightreel/base/resolved_file.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxImageBytes = std::size_t{512} << 20U;

ImageFormat format_of(std::string_view bytes) {
  const auto begins = [&](std::string_view magic) { return bytes.substr(0, magic.size()) == magic; };
  if (begins("\x89PNG\r\n\x1a\n")) return ImageFormat::png;
  if (begins("\xff\xd8\xff")) return ImageFormat::jpeg;
  if (begins("RIFF") && bytes.substr(8 <= bytes.size() ? 8 : bytes.size(), 4) == "WEBP") return ImageFormat::webp;
  throw Error(ErrorKind::job, "is no PNG, JPEG or WebP picture");
}

/// Pixels that lie whole, one after the other: where red, green and blue are among a pixel's bytes. Of 16 bits the
/// first, higher ones count.
struct Packed {
  const char* pixel_format;
  std::size_t bytes, red, green, blue;
};
constexpr std::array<Packed, 9> kPacked{{{"rgb24", 3, 0, 1, 2},
                                         {"rgba", 4, 0, 1, 2},
                                         {"argb", 4, 1, 2, 3},
                                         {"gray", 1, 0, 0, 0},
                                         {"ya8", 2, 0, 0, 0},
                                         {"gray16be", 2, 0, 0, 0},
                                         {"ya16be", 4, 0, 0, 0},
                                         {"rgb48be", 6, 0, 2, 4},
                                         {"rgba64be", 8, 0, 2, 4}}};

using PixelReader = std::function<std::array<std::uint8_t, 3>(const std::uint8_t* row, std::size_t x)>;

Image read_pixels(const av::Still& still, const PixelReader& pixel) {
  Image image{still.width(), still.height(), {}};
  const auto width = static_cast<std::size_t>(image.width);
  image.rgb.reserve(width * static_cast<std::size_t>(image.height) * 3);
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* row = still.row(0, y);
    for (std::size_t x = 0; x < width; ++x) {
      for (const std::uint8_t value : pixel(row, x)) image.rgb.push_back(value);
    }
  }
  return image;
}

std::array<std::uint8_t, 3> palette_colour(const av::Still& still, std::uint8_t index) {
  std::uint32_t argb = 0;
  std::memcpy(&argb, still.row(1, 0) + std::size_t{index} * 4, 4);
  return {static_cast<std::uint8_t>(argb >> 16U), static_cast<std::uint8_t>(argb >> 8U),
          static_cast<std::uint8_t>(argb)};
}

std::optional<Image> packed_to_rgb(const av::Still& still, const std::string& format) {
  for (const Packed& packed : kPacked) {
    if (format != packed.pixel_format) continue;
    return read_pixels(still, [&](const std::uint8_t* row, std::size_t x) {
      const std::uint8_t* at = row + x * packed.bytes;
      return std::array{at[packed.red], at[packed.green], at[packed.blue]};
    });
  }
  if (format == "pal8") {
    return read_pixels(still, [&](const std::uint8_t* row, std::size_t x) { return palette_colour(still, row[x]); });
  }
  if (format == "monob") {
    return read_pixels(still, [](const std::uint8_t* row, std::size_t x) {
      const bool white = (row[x / 8] >> (7 - x % 8) & 1) != 0;
      const auto grey = static_cast<std::uint8_t>(white ? 255 : 0);
      return std::array{grey, grey, grey};
    });
  }
  return std::nullopt;
}

Image to_rgb(const av::Still& still) {
  const std::string format = still.pixel_format();
  if (format == "yuv420p" || format == "yuva420p") return webp_to_rgb(still);
  if (auto image = packed_to_rgb(still, format)) return std::move(*image);
  throw Error(ErrorKind::job, "its pixels (" + format + ") are of no kind that is read: save it as an RGB picture");
}

Image decode(std::string_view bytes, ImageFormat format) {
  if (format == ImageFormat::jpeg) return read_jpeg(bytes, kMaxImagePixels);
  return to_rgb(av::Still(bytes, format == ImageFormat::png ? "png" : "webp", kMaxImagePixels));
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& name) {
  try {
    const ImageFormat format = format_of(bytes);
    return turned(decode(bytes, format), exif_orientation(bytes, format));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::job) throw;
    throw Error(ErrorKind::job, base::printable(name, 4096) + ": " + e.what());
  }
}

Image read_image(const std::string& path, Links links) {
  std::string bytes;
  try {
    const base::Fd file = links == Links::followed ? base::open_regular(path) : base::open_resolved(path);
    bytes = base::read_all(file, path, kMaxImageBytes);
  } catch (const Error& e) {
    throw Error(ErrorKind::job, e.what());
  }
  return decode_image(bytes, path);
}

}  // namespace nightreel::media

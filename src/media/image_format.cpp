#include "media/image_format.h"

#include <array>
#include <string>

#include "nightreel/base/error.h"

namespace nightreel::media {
namespace {

/// What people take for pictures, or get in place of one: bytes at a place, and what to call them.
struct ForeignFile {
  std::size_t at;
  std::string_view magic;
  const char* name;
};
constexpr std::array<ForeignFile, 22> kForeign{{{0, "GIF8", "a GIF picture"},
                                                {0, "BM", "a BMP picture"},
                                                {0, {"II*\0", 4}, "a TIFF picture"},
                                                {0, {"MM\0*", 4}, "a TIFF picture"},
                                                {4, "ftypavif", "an AVIF picture"},
                                                {4, "ftypavis", "an AVIF picture"},
                                                {4, "ftyphei", "a HEIC picture"},
                                                {4, "ftyphev", "a HEIC picture"},
                                                {4, "ftypmif1", "a HEIF picture"},
                                                {4, "ftyp", "a video"},
                                                {0, {"\0\0\0\x0cjP  ", 8}, "a JPEG 2000 picture"},
                                                {0, {"\0\0\0\x0cJXL ", 8}, "a JPEG XL picture"},
                                                {0, "\xff\x0a", "a JPEG XL picture"},
                                                {0, {"\0\0\1\0", 4}, "an icon (ICO)"},
                                                {0, "8BPS", "a Photoshop document"},
                                                {0, "%PDF", "a PDF document"},
                                                {0, "<svg", "an SVG picture"},
                                                {0, "<?xml", "an XML text, perhaps an SVG picture"},
                                                {0, "<!DOCTYPE", "a web page"},
                                                {0, "<!doctype", "a web page"},
                                                {0, "<html", "a web page"},
                                                {0, "version https://git-lfs", "the pointer of a Git LFS file"}}};

bool stands_at(std::string_view bytes, std::size_t at, std::string_view magic) {
  return bytes.size() >= at && bytes.substr(at, magic.size()) == magic;
}

bool is_webp(std::string_view bytes) {
  if (!stands_at(bytes, 0, "RIFF") || !stands_at(bytes, 8, "WEBP")) return false;
  return stands_at(bytes, 12, "VP8 ") || stands_at(bytes, 12, "VP8L") || stands_at(bytes, 12, "VP8X");
}

}  // namespace

ImageFormat format_of(std::string_view bytes) {
  if (stands_at(bytes, 0, "\x89PNG\r\n\x1a\n")) return ImageFormat::png;
  if (stands_at(bytes, 0, "\xff\xd8\xff")) return ImageFormat::jpeg;
  if (is_webp(bytes)) return ImageFormat::webp;
  std::string what = "is no PNG, JPEG or WebP picture";
  if (bytes.empty()) what += ": it is empty";
  for (const ForeignFile& foreign : kForeign) {
    if (!stands_at(bytes, foreign.at, foreign.magic)) continue;
    what += std::string(": it is ") + foreign.name + "; save it as PNG";
    break;
  }
  throw base::Error(base::ErrorKind::job, what);
}

const char* format_name(ImageFormat format) {
  switch (format) {
    case ImageFormat::png:
      return "PNG";
    case ImageFormat::jpeg:
      return "JPEG";
    case ImageFormat::webp:
      return "WebP";
  }
  return "";
}

}  // namespace nightreel::media

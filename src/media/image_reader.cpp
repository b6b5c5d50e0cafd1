#include "nightreel/media/image_reader.h"

#include <algorithm>
#include <utility>

#include "media/exif.h"
#include "media/image_format.h"
#include "media/jpeg.h"
#include "media/png.h"
#include "media/webp.h"
#include "nightreel/base/error.h"
#include "nightreel/base/resolved_file.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxImageBytes = std::size_t{512} << 20U;

/// The picture upright, with the first thing that there is to warn of.
Image upright(Image image, const ImageMetadata& metadata) {
  std::string warning;
  const int orientation = orientation_of(metadata, warning);
  if (image.warning.empty()) image.warning = warning;
  return turned(std::move(image), orientation);
}

Image decode(std::string_view bytes) {
  switch (format_of(bytes)) {
    case ImageFormat::png: {
      PngChunks chunks(bytes);
      check_pixels(chunks.header().width, chunks.header().height, kMaxImagePixels);
      Image image = read_png(chunks);
      return upright(std::move(image), chunks.metadata());
    }
    case ImageFormat::jpeg: {
      const JpegHeader header = read_jpeg_header(bytes);
      check_pixels(static_cast<std::uint64_t>(header.width), static_cast<std::uint64_t>(header.height),
                   kMaxImagePixels);
      return upright(read_jpeg(bytes, header), header.metadata);
    }
    case ImageFormat::webp: {
      const WebpHeader header = read_webp_header(bytes);
      check_pixels(header.width, header.height, kMaxImagePixels);
      return upright(read_webp(bytes, header), header.metadata);
    }
  }
  throw Error(ErrorKind::internal, "a picture of no format");
}

std::string picture_bytes(const std::string& path, Links links) {
  try {
    const base::Fd file = links == Links::followed ? base::open_regular(path) : base::open_resolved(path);
    return base::read_all(file, path, kMaxImageBytes);
  } catch (const Error& e) {
    throw Error(ErrorKind::job, e.what());
  }
}

/// Errors of the job get the picture's name in front.
template <typename Call>
auto naming(const std::string& name, Call call) {
  try {
    return call();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::job) throw;
    throw Error(ErrorKind::job, base::printable(name, 4096) + ": " + e.what());
  }
}

bool has_png_end(std::string_view bytes) {
  PngChunks chunks(bytes);
  try {
    while (!chunks.next_piece().empty()) continue;
    chunks.finish();
  } catch (const Error&) {
    return false;
  }
  return chunks.whole();
}

// A file without the mark of its end may still hold every row: only decoding tells.
ImageFacts png_facts(std::string_view bytes) {
  PngChunks chunks(bytes);
  ImageFacts facts{"PNG", chunks.header().width, chunks.header().height};
  check_pixels(facts.width, facts.height, kMaxImagePixels);
  if (!has_png_end(bytes)) read_png(chunks);
  return facts;
}

ImageFacts jpeg_facts(std::string_view bytes) {
  const JpegHeader header = read_jpeg_header(bytes);
  ImageFacts facts{"JPEG", static_cast<std::uint64_t>(header.width), static_cast<std::uint64_t>(header.height)};
  check_pixels(facts.width, facts.height, kMaxImagePixels);
  if (!has_jpeg_end(bytes, header.scan)) read_jpeg(bytes, header);
  return facts;
}

ImageFacts webp_facts(std::string_view bytes) {
  const WebpHeader header = read_webp_header(bytes);
  check_pixels(header.width, header.height, kMaxImagePixels);
  return {"WebP", header.width, header.height};
}

ImageFacts facts_of(std::string_view bytes) {
  switch (format_of(bytes)) {
    case ImageFormat::png:
      return png_facts(bytes);
    case ImageFormat::jpeg:
      return jpeg_facts(bytes);
    case ImageFormat::webp:
      return webp_facts(bytes);
  }
  throw Error(ErrorKind::internal, "a picture of no format");
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& name) {
  return naming(name, [&] { return decode(bytes); });
}

Image read_image(const std::string& path, Links links) {
  return decode_image(picture_bytes(path, links), path);
}

ImageFacts look_at_image(const std::string& path, std::int64_t decode_up_to) {
  const std::string bytes = picture_bytes(path, Links::followed);
  return naming(path, [&] {
    const ImageFacts facts = facts_of(bytes);
    if (facts.width * facts.height <= static_cast<std::uint64_t>(std::max<std::int64_t>(decode_up_to, 0)))
      decode(bytes);
    return facts;
  });
}

}  // namespace nightreel::media

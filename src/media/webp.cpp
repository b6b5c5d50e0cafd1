#include "media/webp.h"

#include <webp/demux.h>

#include <memory>

namespace nightreel::media {
namespace {

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
struct DeleteAnimation {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

WebPData data_of(std::string_view file) {
  return {reinterpret_cast<const std::uint8_t*>(file.data()), file.size()};
}

std::string webp_chunk(const WebPDemuxer& demuxer, const char* name) {
  WebPChunkIterator found{};
  if (WebPDemuxGetChunk(&demuxer, name, 1, &found) == 0) return {};
  std::string content(reinterpret_cast<const char*>(found.chunk.bytes), found.chunk.size);
  WebPDemuxReleaseChunkIterator(&found);
  return content;
}

}  // namespace

WebpHeader read_webp_header(std::string_view file) {
  const WebPData data = data_of(file);
  const std::unique_ptr<WebPDemuxer, DeleteDemuxer> demuxer(WebPDemux(&data));
  if (!demuxer) refuse_damaged("the file ends in its pictures, or is no WebP file but for its name");
  WebpHeader header;
  header.width = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH);
  header.height = WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT);
  if (const std::string exif = webp_chunk(*demuxer, "EXIF"); !exif.empty()) header.metadata.exif = exif;
  header.metadata.xmp = webp_chunk(*demuxer, "XMP ");
  return header;
}

Image read_webp(std::string_view file, const WebpHeader& header) {
  const WebPData data = data_of(file);
  const std::unique_ptr<WebPAnimDecoder, DeleteAnimation> decoder(WebPAnimDecoderNew(&data, nullptr));
  std::uint8_t* canvas = nullptr;
  int timestamp = 0;
  if (!decoder || WebPAnimDecoderGetNext(decoder.get(), &canvas, &timestamp) == 0) {
    refuse_damaged("libwebp cannot decode it");
  }
  Image image{static_cast<int>(header.width), static_cast<int>(header.height), {}};
  const std::size_t pixels = static_cast<std::size_t>(header.width) * static_cast<std::size_t>(header.height);
  image.rgb.reserve(pixels * 3);
  for (std::size_t i = 0; i < pixels; ++i) image.rgb.insert(image.rgb.end(), canvas + 4 * i, canvas + 4 * i + 3);
  return image;
}

}  // namespace nightreel::media

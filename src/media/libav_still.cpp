#include "media/libav_still.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
}

#include <cstring>

#include "nightreel/base/error.h"

namespace nightreel::media::av {
namespace {

using base::Error;
using base::ErrorKind;

/// libav says of what is too large only that it is not valid.
void check(int code, std::int64_t max_pixels) {
  if (code >= 0) return;
  throw Error(ErrorKind::job,
              "is damaged or cut off, or has more than " + std::to_string(max_pixels) + " pixels: " + reason(code));
}

Owned<AVCodecContext> decoder_for(const char* name, std::int64_t max_pixels) {
  const AVCodec* codec = avcodec_find_decoder_by_name(name);
  if (codec == nullptr) throw Error(ErrorKind::environment, "libavcodec cannot decode this kind of picture");
  Owned<AVCodecContext> decoder(avcodec_alloc_context3(codec));
  if (!decoder) throw Error(ErrorKind::internal, "libav has no memory");
  decoder->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
  decoder->max_pixels = max_pixels;
  decoder->thread_count = 1;
  decoder->flags |= AV_CODEC_FLAG_BITEXACT;
  if (avcodec_open2(decoder.get(), codec, nullptr) < 0) throw Error(ErrorKind::internal, "cannot open the decoder");
  return decoder;
}

/// libav reads beyond the end: the packet is a copy with padding.
Owned<AVPacket> packet_of(std::string_view bytes) {
  Owned<AVPacket> packet(av_packet_alloc());
  if (!packet || av_new_packet(packet.get(), static_cast<int>(bytes.size())) < 0) {
    throw Error(ErrorKind::internal, "libav has no memory");
  }
  std::memcpy(packet->data, bytes.data(), bytes.size());
  return packet;
}

}  // namespace

Still::Still(std::string_view bytes, const char* name, std::int64_t max_pixels) : frame_(av_frame_alloc()) {
  silence();
  if (!frame_) throw Error(ErrorKind::internal, "libav has no memory");
  const Owned<AVCodecContext> decoder = decoder_for(name, max_pixels);
  check(avcodec_send_packet(decoder.get(), packet_of(bytes).get()), max_pixels);
  check(avcodec_send_packet(decoder.get(), nullptr), max_pixels);
  check(avcodec_receive_frame(decoder.get(), frame_.get()), max_pixels);
  const bool damaged = frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0;
  const std::int64_t pixels = std::int64_t{frame_->width} * frame_->height;
  if (damaged || pixels < 1) throw Error(ErrorKind::job, "is damaged or cut off");
  if (pixels > max_pixels) throw Error(ErrorKind::job, "has more than " + std::to_string(max_pixels) + " pixels");
}

int Still::width() const {
  return frame_->width;
}

int Still::height() const {
  return frame_->height;
}

std::string Still::pixel_format() const {
  const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame_->format));
  return name == nullptr ? "unknown" : name;
}

const std::uint8_t* Still::row(int plane, int y) const {
  return frame_->data[plane] + std::ptrdiff_t{frame_->linesize[plane]} * y;
}

}  // namespace nightreel::media::av

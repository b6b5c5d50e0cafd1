#include "nightreel/media/video.h"

#include <array>
#include <cmath>
#include <string_view>

#include "media/libav.h"
#include "nightreel/base/error.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::int64_t kMaxPictureSide = 16384;

struct Codec {
  std::string_view name;
  std::string_view encoder;  // libav's name
  std::string_view parameters_key;
  std::string_view parameters;
};

// cpu-independent: x264's macroblock tree otherwise sums floats in an order that the CPU's vector width decides.
// x265 writes the CPU's features into the stream (info), its log to stderr, and sizes its pool by the machine.
constexpr std::array<Codec, 2> kCodecs{{
    {"h264", "libx264", "x264-params", "cpu-independent=1"},
    {"hevc", "libx265", "x265-params", "info=0:log-level=none:pools=4"},
}};

std::string available_codecs() {
  std::string names;
  for (const Codec& codec : kCodecs) {
    if (av::has_encoder(std::string(codec.encoder))) names += (names.empty() ? "" : ", ") + std::string(codec.name);
  }
  return names.empty() ? "none" : names;
}

const Codec& find_codec(const std::string& name) {
  for (const Codec& codec : kCodecs) {
    if (codec.name != name) continue;
    if (av::has_encoder(std::string(codec.encoder))) return codec;
    throw Error(ErrorKind::environment, "codec " + name + ": libavcodec was built without " +
                                            std::string(codec.encoder) + "; available: " + available_codecs());
  }
  throw Error(ErrorKind::usage, "codec " + base::printable(name) + ": unknown; available: " + available_codecs());
}

// Film and television write their rates rounded: 23.976 means 24000/1001.
av::Rational frame_rate(double fps) {
  if (!(fps >= 0.01 && fps <= 1000)) throw Error(ErrorKind::usage, "fps: must be 0.01 to 1000");
  const double nominal = std::round(fps * 1.001);
  const bool whole = std::abs(fps - std::round(fps)) < 1e-6;
  if (!whole && nominal > 0 && std::abs(fps - nominal / 1.001) < 1e-3) return {static_cast<int>(nominal) * 1000, 1001};
  return av::to_rational(fps);
}

void check_size(const char* field, std::int64_t size) {
  if (size < 2 || size > kMaxPictureSide || size % 2 != 0) {
    throw Error(ErrorKind::usage, std::string(field) + ": " + std::to_string(size) +
                                      " pixels cannot be encoded as yuv420p; even sizes from 2 to 16384 can");
  }
}

av::EncoderOptions encoder_options(std::int64_t height, std::int64_t width, const VideoOptions& options) {
  check_size("height", height);
  check_size("width", width);
  if (options.crf < 0 || options.crf > 51) throw Error(ErrorKind::usage, "crf: must be 0 to 51");
  const Codec& codec = find_codec(options.codec);
  av::EncoderOptions out;
  out.name = codec.encoder;
  out.width = static_cast<int>(width);
  out.height = static_cast<int>(height);
  out.fps = frame_rate(options.fps);
  out.colour = av::Colour::video;
  out.threads = kEncoderThreads;
  out.options = {{"preset", "medium"},
                 {"crf", std::to_string(options.crf)},
                 {std::string(codec.parameters_key), std::string(codec.parameters)}};
  return out;
}

}  // namespace

void check_codec(const std::string& name) {
  find_codec(name);
}

void check_frames(const Frames& frames) {
  const auto sane = [](std::int64_t size) { return size > 0 && size <= kMaxPictureSide; };
  const bool sides = sane(frames.height) && sane(frames.width);
  if (sides && frames.frames > 0 && frames.rgb.size() % frames.frame_bytes() == 0 &&
      frames.rgb.size() / frames.frame_bytes() == static_cast<std::size_t>(frames.frames)) {
    return;
  }
  throw Error(ErrorKind::internal, "frames of the shape [" + std::to_string(frames.frames) + ", " +
                                       std::to_string(frames.height) + ", " + std::to_string(frames.width) +
                                       ", 3] in a buffer of " + std::to_string(frames.rgb.size()) + " bytes");
}

struct VideoWriter::State {
  State(const std::string& path, const av::EncoderOptions& options)
      : converter(options.width, options.height, options.colour), encoder(options), file(path, encoder) {}
  av::RgbToYuv converter;
  av::Encoder encoder;
  av::Mp4Writer file;
  std::int64_t frames = 0;
};

VideoWriter::VideoWriter(const std::string& path, std::int64_t height, std::int64_t width, const VideoOptions& options)
    : state_(std::make_unique<State>(path, encoder_options(height, width, options))) {}
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter& VideoWriter::operator=(VideoWriter&&) noexcept = default;
VideoWriter::~VideoWriter() = default;

void VideoWriter::add_frame(std::span<const std::uint8_t> rgb) {
  state_->encoder.encode(state_->converter.convert(rgb), [this](AVPacket& packet) { state_->file.write(packet); });
  ++state_->frames;
}

void VideoWriter::finish() {
  if (state_->frames == 0) throw Error(ErrorKind::internal, "a video without frames");
  state_->encoder.flush([this](AVPacket& packet) { state_->file.write(packet); });
  state_->file.finish();
}

void write_video(const std::string& path, const Frames& frames, const VideoOptions& options) {
  check_frames(frames);
  VideoWriter writer(path, frames.height, frames.width, options);
  for (std::int64_t i = 0; i < frames.frames; ++i) writer.add_frame(frames.frame(i));
  writer.finish();
}

VideoInfo check_video(const std::string& path) {
  av::Mp4Reader reader(path);
  VideoInfo info;
  info.codec = reader.codec();
  info.fps = reader.fps();
  av::Yuv picture;
  while (reader.next(picture)) {
    const bool first = info.frames++ == 0;
    if (!first && (picture.width != info.width || picture.height != info.height)) {
      throw Error(ErrorKind::storage, path + ": not a sound video: its frames differ in size");
    }
    info.height = picture.height;
    info.width = picture.width;
    info.pix_fmt = picture.pix_fmt;
  }
  if (info.frames == 0 || info.frames != reader.declared_frames()) {
    throw Error(ErrorKind::storage, path + ": not a sound video: " + std::to_string(info.frames) + " of " +
                                        std::to_string(reader.declared_frames()) + " frames can be decoded");
  }
  return info;
}

}  // namespace nightreel::media

// The one place that calls libav (avformat, avcodec, swscale, avutil): owners for its handles and checked verbs over
// them. Nothing of libav shows outside of libav.cpp and, for still pictures, libav_still.cpp.
//
// Objects belong to one thread at a time. Errors: Error{storage} with the path for files, Error{environment} for an
// encoder that the library lacks, Error{internal} for a call that libav should not have refused. libav's log is
// process-wide; the first use of this file drops it, because a library must not write to a terminal by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

struct AVCodecContext;
struct AVDictionary;
struct AVFormatContext;
struct AVFrame;
struct AVPacket;
struct SwsContext;

namespace nightreel::media::av {

/// libavcodec's, "59.37.100".
std::string version();

/// Of a libav error code.
std::string reason(int code);

/// Before the first call that may log.
void silence();

struct Free {
  void operator()(AVCodecContext* context) const;
  void operator()(AVFrame* frame) const;
  void operator()(AVPacket* packet) const;
  void operator()(SwsContext* context) const;
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

struct Rational {
  int num = 0;
  int den = 1;
};

/// The nearest fraction with small numbers.
Rational to_rational(double value);

/// YUV 4:2:0 as video has it (BT.709, 16..235) or as JPEG has it (BT.601, 0..255).
enum class Colour { video, jpeg };

/// Turns RGB pictures of one size into YUV 4:2:0, the same bytes on every CPU.
class RgbToYuv {
 public:
  RgbToYuv(int width, int height, Colour colour);
  /// `rgb`: uint8 [height, width, 3]. The answer lives until the next call.
  AVFrame& convert(std::span<const std::uint8_t> rgb);

 private:
  Owned<AVFrame> rgb_;
  Owned<AVFrame> yuv_;
  Owned<SwsContext> scaler_;
};

/// `rgb`, uint8 [height, width, 3], averaged down to [new_height, new_width, 3].
std::vector<std::uint8_t> shrink(std::span<const std::uint8_t> rgb, int width, int height, int new_width,
                                 int new_height);

bool has_encoder(const std::string& name);

struct EncoderOptions {
  std::string name;  // libav's: libx264, libx265, mjpeg
  int width = 0;
  int height = 0;
  Rational fps{1, 1};
  Colour colour = Colour::video;
  int threads = 1;
  std::vector<std::pair<std::string, std::string>> options;  // libav's names
};

class Encoder {
 public:
  using Sink = std::function<void(AVPacket&)>;
  explicit Encoder(const EncoderOptions& options);
  /// Gives `frame` its place in time, encodes it and hands on the packets that are ready.
  void encode(AVFrame& frame, const Sink& sink);
  /// Hands on the packets that are left; ends the encoder.
  void flush(const Sink& sink);
  const AVCodecContext& context() const { return *context_; }

 private:
  void send(const AVFrame* frame, const Sink& sink);
  Owned<AVCodecContext> context_;
  Owned<AVPacket> packet_;
  std::int64_t frames_ = 0;
};

std::span<const std::uint8_t> bytes(const AVPacket& packet);

/// An MP4 file with one video stream. Removed by the destructor unless finish() has returned.
class Mp4Writer {
 public:
  Mp4Writer(const std::string& path, const Encoder& encoder);
  Mp4Writer(const Mp4Writer&) = delete;
  Mp4Writer& operator=(const Mp4Writer&) = delete;
  ~Mp4Writer();
  void write(AVPacket& packet);
  /// Writes the index, moves it to the front, closes and fsyncs.
  void finish();

 private:
  void close();
  std::string path_;
  AVFormatContext* file_ = nullptr;
  Rational tick_;  // of the encoder's times, seconds
  bool created_ = false;
};

/// One decoded picture; lives until the next one is asked for.
struct Yuv {
  int width = 0;
  int height = 0;
  std::string pix_fmt;
  const std::uint8_t* planes[3] = {nullptr, nullptr, nullptr};
  int strides[3] = {0, 0, 0};
};

/// The first video stream of an MP4 file, decoded strictly: what a player would conceal is an error here.
class Mp4Reader {
 public:
  explicit Mp4Reader(const std::string& path);
  Mp4Reader(const Mp4Reader&) = delete;
  Mp4Reader& operator=(const Mp4Reader&) = delete;
  ~Mp4Reader();
  /// False at the end.
  bool next(Yuv& picture);
  std::string codec() const;
  double fps() const;
  /// As the file's index says.
  std::int64_t declared_frames() const;

 private:
  void open();
  void find_stream();
  bool feed();
  void check(int code, const char* what) const;
  [[noreturn]] void fail(const std::string& what) const;
  std::string path_;
  AVFormatContext* file_ = nullptr;
  Owned<AVCodecContext> decoder_;
  Owned<AVPacket> packet_;
  Owned<AVFrame> frame_;
  int stream_ = -1;
};

}  // namespace nightreel::media::av

// MP4 files: written from RGB frames, and checked by decoding all of them.
//
// H.264 or HEVC, yuv420p, BT.709 (matrix, primaries, transfer; limited range), moov before mdat (faststart), nothing in
// the file that tells time or host. For H.264 the same frames and options give the same bytes: the encoder runs with
// kEncoderThreads threads whatever the machine has, and conversion and encoder take code paths that do not depend on
// the CPU. HEVC carries no such promise: x265 (3.5) lets uninitialised memory into its decisions.
//
// A VideoWriter owns the file that it writes and belongs to one thread at a time; different objects, and the
// functions, may be used from different threads at once. libav's own log lines are dropped; its reasons are in the
// errors. What cannot be written, or read back, is an Error{storage} with the path; sizes, rates and codecs that
// cannot be encoded are Error{usage}; a libavcodec without the encoder is an Error{environment}.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "nightreel/media/frames.h"

namespace nightreel::media {

/// x264's bytes depend on its thread count, so it is a constant and no option. Frame threads, not slices.
inline constexpr int kEncoderThreads = 4;

struct VideoOptions {
  double fps = 16;             // 0.01 to 1000; 23.976, 29.97, … become n·1000/1001
  int crf = 18;                // 0 (lossless) to 51
  std::string codec = "h264";  // h264, hevc
};

/// Writes one video, frame by frame. The path may have any ending; what stood there is overwritten.
/// Unless finish() has returned, the destructor removes the file.
class VideoWriter {
 public:
  /// `height`, `width`: pixels, even.
  VideoWriter(const std::string& path, std::int64_t height, std::int64_t width, const VideoOptions& options);
  VideoWriter(VideoWriter&&) noexcept;
  VideoWriter& operator=(VideoWriter&&) noexcept;
  ~VideoWriter();

  /// `rgb`: uint8 [height, width, 3].
  void add_frame(std::span<const std::uint8_t> rgb);
  /// Writes what the encoder still holds, closes and fsyncs the file. At least one frame must have been added.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Throws for a codec that no VideoWriter could write here.
void check_codec(const std::string& name);

/// All frames at once.
void write_video(const std::string& path, const Frames& frames, const VideoOptions& options);

struct VideoInfo {
  std::int64_t frames = 0;  // that were decoded
  std::int64_t height = 0;
  std::int64_t width = 0;
  double fps = 0;
  std::string codec;    // h264, hevc
  std::string pix_fmt;  // yuv420p
};

/// Decodes every frame of an MP4 file of H.264 or HEVC. Throws Error{storage} where a frame is missing or broken. Only
/// this file is read: what it may refer to is not followed.
VideoInfo check_video(const std::string& path);

}  // namespace nightreel::media

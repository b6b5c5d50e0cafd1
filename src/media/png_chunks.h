// A PNG file's chunks as Pillow walks them (PngImagePlugin.PngStream and PngImageFile): up to its pixels, its pixels in
// pieces, and what stands behind them. Of an animated file that is its first picture. Looks at the bytes that it was
// given and owns none; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "media/image_bytes.h"

namespace nightreel::media {

/// Where the pixels go: the whole picture, but for the first picture of an animation that says otherwise.
struct PngBox {
  std::uint64_t left = 0, top = 0, width = 0, height = 0;
};

struct PngHeader {
  std::uint64_t width = 0;
  std::uint64_t height = 0;
  int bit_depth = 0;
  int colour_type = -1;  // 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha; -1: none that PNG knows
  bool interlaced = false;
  std::string palette;  // RGB, three bytes an entry
  PngBox box;
};

class PngChunks {
 public:
  /// Reads up to the pixels; throws Error{job} where Pillow does.
  explicit PngChunks(std::string_view file);

  const PngHeader& header() const { return header_; }
  /// The next piece of the pixels' stream, at most 64 KiB; empty behind the last one.
  std::string_view next_piece();
  /// Reads what stands behind the pixels; throws Error{job} where Pillow does.
  void finish();
  /// After finish(): whether the last chunk is there.
  bool whole() const { return whole_; }
  /// After finish() complete.
  const ImageMetadata& metadata() const { return metadata_; }

 private:
  struct Chunk {
    std::string_view type;
    std::uint64_t length = 0;
  };
  enum class Call { read, pixels, unknown };

  std::optional<Chunk> read_chunk();
  std::string_view take(std::uint64_t size);
  void skip(std::uint64_t size);
  void check_sum(const Chunk& chunk, std::size_t start);
  Call call(const Chunk& chunk);
  Call call_animation(const Chunk& chunk);
  Call begin_pixels();
  void read_header(std::string_view content);
  void read_profile(std::string_view content);
  void read_transparency(std::string_view content);
  void read_text(std::string_view content);
  void read_packed_text(std::string_view content);
  void read_international_text(std::string_view content);
  void keep_text(std::string_view key, std::string_view text);
  std::string unpacked(std::string_view stream);
  void read_animation(std::string_view content);
  void read_frame(std::string_view content);
  void count_frame(std::uint64_t number);

  std::string_view file_;
  std::size_t at_ = 8;  // behind the signature
  PngHeader state_;     // as the chunks so far say
  PngHeader header_;    // as it stood before the pixels
  ImageMetadata metadata_;
  std::optional<PngBox> frame_;
  bool pixels_found_ = false;
  std::uint64_t left_in_chunk_ = 0;
  std::optional<std::uint64_t> frames_;
  bool default_picture_ = false;  // the first picture is no part of the animation
  std::optional<std::uint64_t> sequence_;
  std::size_t text_bytes_ = 0;
  bool whole_ = false;
};

}  // namespace nightreel::media

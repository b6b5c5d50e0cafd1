#include "media/png.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include "media/inflate.h"

namespace nightreel::media {
namespace {

/// A pass of an interlaced picture: which columns and rows it holds (PNG's specification, 8.2).
struct Pass {
  std::size_t column, column_step, row, row_step;
};
constexpr std::array<Pass, 7> kInterlaced{
    {{0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4}, {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2}}};
constexpr Pass kPlain{0, 1, 0, 1};

std::size_t bits_of(const PngHeader& header) {
  const std::size_t channels = header.colour_type == 2   ? 3
                               : header.colour_type == 4 ? 2
                               : header.colour_type == 6 ? 4
                                                         : 1;
  return channels * static_cast<std::size_t>(header.bit_depth);
}

/// Value `index` of a row of values of 1, 2, 4 or 8 bits.
unsigned packed_value(const std::uint8_t* row, std::size_t index, std::size_t bits) {
  const std::size_t bit = index * bits;
  return static_cast<unsigned>(row[bit / 8] >> (8 - bits - bit % 8)) & ((1U << bits) - 1U);
}

/// From a row's bytes to RGB.
class PngColours {
 public:
  explicit PngColours(const PngHeader& header)
      : bits_(bits_of(header)), wide_(header.bit_depth == 16), palette_(header.colour_type == 3) {
    const bool coloured = header.colour_type == 2 || header.colour_type == 6;
    step_ = coloured ? (wide_ ? 2 : 1) : 0;
    const std::size_t whole = header.palette.size() / 3 * 3;
    for (std::size_t i = 0; palette_ && i < std::min(whole, colours_.size()); ++i) {
      colours_[i] = static_cast<std::uint8_t>(header.palette[i]);
    }
  }

  void pixel(const std::uint8_t* row, std::size_t index, std::uint8_t* rgb) const {
    if (bits_ >= 8 && !palette_) {
      const std::uint8_t* at = row + index * (bits_ / 8);
      for (std::size_t i = 0; i < 3; ++i) rgb[i] = at[i * step_];
      return;
    }
    const unsigned value = packed_value(row, index, bits_);
    if (palette_) {
      std::memcpy(rgb, colours_.data() + std::size_t{value} * 3, 3);
    } else {
      std::memset(rgb, static_cast<int>(value * (255U / ((1U << bits_) - 1U))), 3);
    }
  }

 private:
  std::size_t bits_;
  bool wide_;
  bool palette_;
  std::size_t step_ = 0;  // bytes from red to green
  std::array<std::uint8_t, 768> colours_{};
};

/// Takes PNG's filters off a row, in place (the specification, 9.2): `row` and the one above it, without their filters'
/// bytes; `pixel`: bytes from a value to that of the pixel before. False for a filter that PNG does not know.
bool unfilter(int filter, std::span<std::uint8_t> row, std::span<const std::uint8_t> above, std::size_t pixel) {
  const auto left = [&](std::size_t i) { return i < pixel ? 0 : int{row[i - pixel]}; };
  const auto corner = [&](std::size_t i) { return i < pixel ? 0 : int{above[i - pixel]}; };
  const auto add = [&](auto guess) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::uint8_t>(row[i] + guess(i));
  };
  switch (filter) {
    case 0:
      return true;
    case 1:
      add(left);
      return true;
    case 2:
      add([&](std::size_t i) { return int{above[i]}; });
      return true;
    case 3:
      add([&](std::size_t i) { return (left(i) + above[i]) / 2; });
      return true;
    case 4:
      add([&](std::size_t i) {
        const int a = left(i);
        const int b = above[i];
        const int c = corner(i);
        const int to_a = std::abs(b - c);
        const int to_b = std::abs(a - c);
        const int to_c = std::abs(a + b - 2 * c);
        return to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c;
      });
      return true;
    default:
      return false;
  }
}

/// Rows as they come out of the stream, put into the picture. Follows Pillow's ZipDecode.c to the end: what it makes of
/// streams that end early or go on too long is what users see.
class PngRows {
 public:
  PngRows(const PngHeader& header, Image& image)
      : interlaced_(header.interlaced), bits_(bits_of(header)), colours_(header), image_(image), box_(header.box) {
    if (box_.left == 0 && box_.width == 0) box_ = {0, 0, header.width, header.height};
    if (box_.width == 0 || box_.height == 0) refuse_damaged("its animation's first picture has no pixels");
    row_.resize(row_bytes(kPlain) + 1);
    above_.resize(row_.size());
    pass_ = interlaced_ ? kInterlaced[0] : kPlain;
    y_ = pass_.row;
  }

  /// True at the end of the picture or of the stream.
  bool feed(std::string_view piece) {
    while (!piece.empty()) {
      const std::size_t wanted = row_bytes(pass_) + 1;
      const auto step = inflater_.step(piece, std::span(row_).subspan(filled_, wanted - filled_));
      if (!step) refuse_damaged("its pixels cannot be unpacked");
      piece.remove_prefix(step->used);
      filled_ += step->made;
      if (filled_ < wanted) return false;
      filled_ = 0;
      take_row(wanted - 1);
      if (y_ >= box_.height || step->ended) return true;
      std::swap(row_, above_);
    }
    return false;
  }
  bool complete() const { return y_ >= box_.height; }

 private:
  std::size_t columns(const Pass& pass) const {
    return (static_cast<std::size_t>(box_.width) + pass.column_step - 1 - pass.column) / pass.column_step;
  }
  std::size_t row_bytes(const Pass& pass) const { return (columns(pass) * bits_ + 7) / 8; }

  void take_row(std::size_t size) {
    const auto values = std::span(row_).subspan(1, size);
    if (!unfilter(row_[0], values, std::span(above_).subspan(1, size), (bits_ + 7) / 8)) {
      refuse_damaged("it has a filter that PNG does not know");
    }
    // Pillow forgets where the box lies in an interlaced picture.
    const std::size_t left = interlaced_ ? 0 : static_cast<std::size_t>(box_.left);
    const std::size_t top = interlaced_ ? 0 : static_cast<std::size_t>(box_.top);
    std::uint8_t* out = image_.rgb.data() + (top + y_) * static_cast<std::size_t>(image_.width) * 3;
    for (std::size_t i = 0; i < columns(pass_); ++i) {
      colours_.pixel(values.data(), i, out + (left + pass_.column + i * pass_.column_step) * 3);
    }
    y_ += pass_.row_step;
    if (interlaced_) next_pass();
  }

  void next_pass() {
    while (y_ >= box_.height || row_bytes(pass_) == 0) {
      if (++number_ == kInterlaced.size()) {
        y_ = static_cast<std::size_t>(box_.height);
        return;
      }
      pass_ = kInterlaced[number_];
      y_ = pass_.row;
      std::fill(row_.begin(), row_.end(), std::uint8_t{0});  // the row above the first
    }
  }

  bool interlaced_;
  std::size_t bits_;
  PngColours colours_;
  Image& image_;
  PngBox box_;
  Inflater inflater_;
  std::vector<std::uint8_t> row_;    // its filter, its bytes
  std::vector<std::uint8_t> above_;  // the one before
  std::size_t filled_ = 0;
  Pass pass_{};
  std::size_t number_ = 0;  // of the pass
  std::size_t y_ = 0;
};

Image blank(const PngHeader& header) {
  Image image{static_cast<int>(header.width), static_cast<int>(header.height), {}};
  const std::size_t pixels = static_cast<std::size_t>(header.width) * static_cast<std::size_t>(header.height);
  image.rgb.resize(pixels * 3);
  if (header.colour_type != 3 || header.palette.size() < 3) return image;
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<std::uint8_t>(header.palette[i % 3]);
  return image;
}

}  // namespace

Image read_png(PngChunks& chunks) {
  const PngHeader& header = chunks.header();
  constexpr std::size_t kMostColours = 256;
  if (header.palette.size() / 3 > kMostColours) refuse_damaged("its palette has more than 256 colours");
  Image image = blank(header);
  PngRows rows(header, image);
  for (bool ended = false; !ended;) {
    const std::string_view piece = chunks.next_piece();
    if (piece.empty()) refuse_damaged("its pixels end before its last row");
    ended = rows.feed(piece);
  }
  chunks.finish();
  if (!rows.complete()) image.warning = "its pixels end before its last row";
  if (rows.complete() && !chunks.whole()) image.warning = "its last chunk is missing";
  return image;
}

}  // namespace nightreel::media

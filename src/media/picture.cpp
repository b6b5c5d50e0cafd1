#include "nightreel/media/picture.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "media/libav.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::media {
namespace {

constexpr int kMaxPictures = 8;
constexpr int kColumns = 4;
constexpr int kMaxWidth = 1600;  // pixels, of the sheet
constexpr int kGap = 4;          // pixels between two pictures
constexpr std::uint8_t kGapGrey = 24;

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]
  Picture(int w, int h)
      : width(w), height(h), rgb(static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3, kGapGrey) {}
  std::uint8_t* row(int y) { return rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3; }
};

// Size of one picture on the sheet. Only whole factors enlarge, so that single pixels of a tiny video stay squares.
Picture make_tile(std::int64_t width, std::int64_t height, int columns) {
  const std::int64_t room = (kMaxWidth - (columns - 1) * kGap) / columns;
  if (width <= room) {
    const std::int64_t factor = std::max<std::int64_t>(1, std::min(room / width, room / height));
    return {static_cast<int>(width * factor), static_cast<int>(height * factor)};
  }
  const std::int64_t scaled = std::max<std::int64_t>(1, (height * room + width / 2) / width);
  return {static_cast<int>(room), static_cast<int>(scaled)};
}

void enlarge(std::span<const std::uint8_t> rgb, int width, Picture& out) {
  const int factor = out.width / width;
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const auto from = static_cast<std::size_t>(y / factor * width + x / factor) * 3;
      std::memcpy(out.row(y) + std::ptrdiff_t{3} * x, rgb.data() + from, 3);
    }
  }
}

void fill_tile(const Frames& frames, std::int64_t index, Picture& tile) {
  const int width = static_cast<int>(frames.width);
  if (tile.width >= width) {
    enlarge(frames.frame(index), width, tile);
  } else {
    tile.rgb = av::shrink(frames.frame(index), width, static_cast<int>(frames.height), tile.width, tile.height);
  }
}

void paste(Picture& tile, int left, int top, Picture& sheet) {
  for (int y = 0; y < tile.height; ++y) {
    std::memcpy(sheet.row(top + y) + std::ptrdiff_t{3} * left, tile.row(y), static_cast<std::size_t>(tile.width) * 3);
  }
}

Picture make_sheet(const Frames& frames) {
  const int count = static_cast<int>(std::min<std::int64_t>(kMaxPictures, frames.frames));
  const int columns = std::min(kColumns, count);
  const int rows = (count + columns - 1) / columns;
  Picture tile = make_tile(frames.width, frames.height, columns);
  Picture sheet(columns * (tile.width + kGap) - kGap, rows * (tile.height + kGap) - kGap);
  for (int i = 0; i < count; ++i) {
    const std::int64_t last = frames.frames - 1;
    const std::int64_t index = count == 1 ? 0 : (2L * i * last + count - 1) / (2L * (count - 1));  // rounded
    fill_tile(frames, index, tile);
    paste(tile, i % columns * (tile.width + kGap), i / columns * (tile.height + kGap), sheet);
  }
  return sheet;
}

// qscale 3 of 31; dct=int is the C code's transform, the same on every CPU.
std::string encode_jpeg(const Picture& picture) {
  av::EncoderOptions options;
  options.name = "mjpeg";
  options.width = picture.width;
  options.height = picture.height;
  options.colour = av::Colour::jpeg;
  options.options = {{"flags", "+qscale+bitexact"}, {"global_quality", "354"}, {"dct", "int"}};
  av::RgbToYuv converter(picture.width, picture.height, av::Colour::jpeg);
  av::Encoder encoder(options);
  std::string jpeg;
  const auto sink = [&jpeg](AVPacket& packet) {
    const auto data = av::bytes(packet);
    jpeg.append(data.begin(), data.end());
  };
  encoder.encode(converter.convert(picture.rgb), sink);
  encoder.flush(sink);
  return jpeg;
}

}  // namespace

void write_sheet(const std::string& path, const Frames& frames) {
  check_frames(frames);
  base::replace_file(path, encode_jpeg(make_sheet(frames)));
}

}  // namespace nightreel::media

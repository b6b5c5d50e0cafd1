#include "media/colour.h"

#include <algorithm>

namespace nightreel::media {
namespace {

std::uint8_t clip(int value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0, 255));
}

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

Image sized_like(const av::Still& still) {
  Image image{still.width(), still.height(), {}};
  image.rgb.resize(index(image.width) * index(image.height) * 3);
  return image;
}

// ---- JPEG ----------------------------------------------------------------------------------------------------------

/// How much of a sum goes into one pixel, and what is added before it is cut off.
struct Parts {
  int whole, left_round, right_round;
};

/// A row brought to twice its width: each pixel is three parts its own and one part its neighbour's, the pixel's own
/// again at the ends.
std::vector<int> doubled(const std::vector<int>& row, const Parts& parts) {
  std::vector<int> wide;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const int left = row[i == 0 ? i : i - 1];
    const int right = row[i + 1 == row.size() ? i : i + 1];
    wide.push_back((3 * row[i] + left + parts.left_round) / parts.whole);
    wide.push_back((3 * row[i] + right + parts.right_round) / parts.whole);
  }
  return wide;
}

std::vector<int> repeated(const std::vector<int>& row) {
  std::vector<int> wide;
  for (const int value : row) wide.insert(wide.end(), 2, value);
  return wide;
}

/// Row `y` of the picture in chroma plane `plane`; in pictures of up to two columns of chroma pixels are repeated.
std::vector<int> chroma_row(const av::Still& still, int plane, int y, bool half_x, bool half_y) {
  const int columns = half_x ? (still.width() + 1) / 2 : still.width();
  const int rows = half_y ? (still.height() + 1) / 2 : still.height();
  const bool narrow = half_x && columns <= 2;
  const bool mixed = half_y && !narrow;
  const int near = half_y ? y / 2 : y;
  const int far = std::clamp(y % 2 == 0 ? near - 1 : near + 1, 0, rows - 1);
  const std::uint8_t* near_row = still.row(plane, near);
  const std::uint8_t* far_row = still.row(plane, far);
  std::vector<int> row(index(columns));
  for (std::size_t x = 0; x < row.size(); ++x) row[x] = mixed ? 3 * near_row[x] + far_row[x] : near_row[x];
  if (narrow) return repeated(row);
  if (half_x) return doubled(row, mixed ? Parts{16, 8, 7} : Parts{4, 1, 2});
  if (!mixed) return row;
  for (int& value : row) value = (value + (y % 2 == 0 ? 1 : 2)) / 4;
  return row;
}

constexpr int fixed(double factor) {
  return static_cast<int>(factor * 65536 + 0.5);
}

void jpeg_pixel(int y, int cb, int cr, std::uint8_t* rgb) {
  constexpr int kHalf = 1 << 15;
  cb -= 128;
  cr -= 128;
  rgb[0] = clip(y + ((fixed(1.40200) * cr + kHalf) >> 16));
  rgb[1] = clip(y + ((-fixed(0.34414) * cb - fixed(0.71414) * cr + kHalf) >> 16));
  rgb[2] = clip(y + ((fixed(1.77200) * cb + kHalf) >> 16));
}

// ---- WebP ----------------------------------------------------------------------------------------------------------

std::uint8_t webp_clip(int value) {  // 14 bits to 8
  return clip(value >> 6);
}

void webp_pixel(int y, int u, int v, std::uint8_t* rgb) {
  const auto part = [](int value, int factor) { return (value * factor) >> 8; };
  rgb[0] = webp_clip(part(y, 19077) + part(v, 26149) - 14234);
  rgb[1] = webp_clip(part(y, 19077) - part(u, 6419) - part(v, 13320) + 8708);
  rgb[2] = webp_clip(part(y, 19077) + part(u, 33050) - 17685);
}

/// Chroma at pixel (x, y): nine, three, three and one sixteenth of the four nearest samples, in libwebp's roundings.
int webp_chroma(const av::Still& still, int plane, int x, int y) {
  const int columns = (still.width() + 1) / 2;
  const int rows = (still.height() + 1) / 2;
  const int near_y = y / 2;
  const int far_y = std::clamp(y % 2 == 0 ? near_y - 1 : near_y + 1, 0, rows - 1);
  const int near_x = x / 2;
  const int far_x = x % 2 == 0 ? near_x - 1 : near_x + 1;
  const int own = still.row(plane, near_y)[near_x];
  const int down = still.row(plane, far_y)[near_x];
  if (far_x < 0 || far_x >= columns) return (3 * own + down + 2) >> 2;
  const int side = still.row(plane, near_y)[far_x];
  const int across = still.row(plane, far_y)[far_x];
  const int diagonal = (own + side + down + across + 8 + 2 * (side + down)) >> 3;
  return (diagonal + own) >> 1;
}

}  // namespace

Image jpeg_to_rgb(const av::Still& still, bool half_x, bool half_y) {
  Image image = sized_like(still);
  std::uint8_t* out = image.rgb.data();
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* luma = still.row(0, y);
    const std::vector<int> cb = chroma_row(still, 1, y, half_x, half_y);
    const std::vector<int> cr = chroma_row(still, 2, y, half_x, half_y);
    for (std::size_t x = 0; x < index(image.width); ++x, out += 3) jpeg_pixel(luma[x], cb[x], cr[x], out);
  }
  return image;
}

Image webp_to_rgb(const av::Still& still) {
  Image image = sized_like(still);
  std::uint8_t* out = image.rgb.data();
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x, out += 3) {
      webp_pixel(still.row(0, y)[x], webp_chroma(still, 1, x, y), webp_chroma(still, 2, x, y), out);
    }
  }
  return image;
}

}  // namespace nightreel::media

#include "media/colour.h"

#include <algorithm>

namespace nightreel::media {
namespace {

std::size_t index(int value) {
  return static_cast<std::size_t>(value);
}

Image sized_like(const av::Still& still) {
  Image image{still.width(), still.height(), {}};
  image.rgb.resize(index(image.width) * index(image.height) * 3);
  return image;
}

std::uint8_t webp_clip(int value) {  // 14 bits to 8
  return static_cast<std::uint8_t>(std::clamp(value >> 6, 0, 255));
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

#include "nightreel/media/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "nightreel/base/error.h"

namespace nightreel::media {
namespace {

constexpr int kWeightBits = 32 - 8 - 2;  // 8 bits of a pixel and two of overshoot beside them

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) {
  return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}

/// Which pixels make one pixel of the answer, and how much each counts.
struct Window {
  int first = 0;
  std::vector<int> weights;
};

Window window(int size, int new_size, int index, Filter filter) {
  const double scale = static_cast<double>(size) / new_size;
  const double widened = std::max(scale, 1.0);
  const double support = (filter == Filter::lanczos ? 3.0 : 2.0) * widened;
  const double centre = (index + 0.5) * scale;
  Window found;
  found.first = std::max(static_cast<int>(centre - support + 0.5), 0);
  const int end = std::min(static_cast<int>(centre + support + 0.5), size);
  std::vector<double> weights;
  double sum = 0;
  for (int x = found.first; x < end; ++x) {
    const double at = (x - centre + 0.5) * (1.0 / widened);
    weights.push_back(filter == Filter::lanczos ? lanczos(at) : bicubic(at));
    sum += weights.back();
  }
  for (double weight : weights) {
    if (sum != 0.0) weight /= sum;
    found.weights.push_back(static_cast<int>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kWeightBits)));
  }
  return found;
}

/// Resamples one axis. Pixels follow each other along it at `step` bytes in `from` and in `to`; a `line` is what stands
/// across: the answer's line of the same number is at the same place modulo the axis' length.
struct Axis {
  int size, new_size;
  std::size_t lines;
  std::size_t from_line, to_line;  // bytes from a line to the next
  std::size_t step;                // bytes from a pixel to the next
};

void resample_axis(const std::uint8_t* from, std::uint8_t* to, const Axis& axis, Filter filter) {
  for (int i = 0; i < axis.new_size; ++i) {
    const Window taps = window(axis.size, axis.new_size, i, filter);
    const std::uint8_t* first = from + static_cast<std::size_t>(taps.first) * axis.step;
    std::uint8_t* out = to + static_cast<std::size_t>(i) * axis.step;
    for (std::size_t line = 0; line < axis.lines; ++line) {
      for (std::size_t channel = 0; channel < 3; ++channel) {
        const std::uint8_t* in = first + line * axis.from_line + channel;
        int sum = 1 << (kWeightBits - 1);
        for (const int weight : taps.weights) {
          sum += *in * weight;
          in += axis.step;
        }
        out[line * axis.to_line + channel] = static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
      }
    }
  }
}

Image with_size(int width, int height) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  return image;
}

Image with_width(const Image& image, int width, Filter filter) {
  if (width == image.width) return image;
  Image sized = with_size(width, image.height);
  const auto row = [](int pixels) { return static_cast<std::size_t>(pixels) * 3; };
  const auto rows = static_cast<std::size_t>(image.height);
  resample_axis(image.rgb.data(), sized.rgb.data(), {image.width, width, rows, row(image.width), row(width), 3},
                filter);
  return sized;
}

Image with_height(const Image& image, int height, Filter filter) {
  if (height == image.height) return image;
  Image sized = with_size(image.width, height);
  const auto columns = static_cast<std::size_t>(image.width);
  resample_axis(image.rgb.data(), sized.rgb.data(), {image.height, height, columns, 3, 3, columns * 3}, filter);
  return sized;
}

}  // namespace

Image resample(const Image& image, int width, int height, Filter filter) {
  if (width < 1 || height < 1 || image.width < 1 || image.height < 1) {
    throw base::Error(base::ErrorKind::internal, "resample: a picture without pixels");
  }
  // Pillow 13's choice, found by trial: the order shows, because a picture is rounded to bytes between the two.
  const bool rows_first = height < image.height && image.height - height > 2 * (image.width - width);
  if (rows_first) return with_width(with_height(image, height, filter), width, filter);
  return with_height(with_width(image, width, filter), height, filter);
}

}  // namespace nightreel::media

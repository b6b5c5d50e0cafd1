// H, W the size of a picture, S the side of CLIP's square.
#include "render/picture_files.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/media/image_reader.h"
#include "nightreel/media/resample.h"

namespace nightreel::render {
namespace {

at::Tensor to_tensor(const media::Image& image) {
  const at::Tensor picture_HW3 = at::empty({image.height, image.width, 3}, at::kByte);
  std::copy(image.rgb.begin(), image.rgb.end(), picture_HW3.mutable_data_ptr<std::uint8_t>());
  return picture_HW3;
}

// As transformers' CLIPImageProcessor cuts it (image_transforms.py: get_resize_output_image_size, center_crop).
at::Tensor middle_square(const media::Image& image, const pipeline::ClipSquare& square) {
  constexpr std::int64_t kMostElongated = 50;  // a line of pixels would be brought to gigabytes
  const std::int64_t shorter = std::min(image.width, image.height);
  if (std::max(image.width, image.height) > kMostElongated * shorter) {
    throw base::Error(base::ErrorKind::job, "the picture is more than 50 times as long as wide");
  }
  const auto sized = [&](std::int64_t side) { return static_cast<int>(square.shortest_edge * side / shorter); };
  const at::Tensor picture_HW3 =
      to_tensor(media::resample(image, sized(image.width), sized(image.height), media::Filter::bicubic));
  const std::int64_t top = (picture_HW3.size(0) - square.side) / 2;
  const std::int64_t left = (picture_HW3.size(1) - square.side) / 2;
  return picture_HW3.narrow(0, top, square.side).narrow(1, left, square.side).contiguous();
}

// The picture `path` at the video's size, as diffusers' VideoProcessor brings it there, and CLIP's square of it;
// undefined where they are not wanted.
std::array<at::Tensor, 2> read_picture(const char* field, const std::string& path, const settings::Settings& settings,
                                       const std::optional<pipeline::ClipSquare>& square, const base::Logger& log) {
  if (path.empty()) return {};
  try {
    const media::Image image = media::read_image(path, media::Links::refused);
    if (!image.warning.empty()) log.warn("picture", std::string(field) + ": " + path + ": " + image.warning);
    const media::Image sized = media::resample(image, static_cast<int>(settings.width),
                                               static_cast<int>(settings.height), media::Filter::lanczos);
    return {to_tensor(sized), square ? middle_square(image, *square) : at::Tensor()};
  } catch (const base::Error& e) {
    throw base::Error(e.kind(), std::string(field) + ": " + e.what());
  }
}

}  // namespace

pipeline::Pictures read_pictures(const settings::Settings& settings, const std::optional<pipeline::ClipSquare>& square,
                                 const base::Logger& log) {
  const auto [first, first_square] = read_picture("image", settings.image, settings, square, log);
  const auto [last, last_square] = read_picture("last_image", settings.last_image, settings, square, log);
  return {first, last, first_square, last_square};
}

std::string hash_of(const pipeline::Pictures& pictures) {
  base::Xxh128 hash;
  for (const at::Tensor& picture_HW3 :
       {pictures.first_HW3, pictures.last_HW3, pictures.clip_first_SS3, pictures.clip_last_SS3}) {
    if (picture_HW3.defined()) hash.update(picture_HW3.const_data_ptr<std::uint8_t>(), picture_HW3.nbytes());
  }
  return pictures.first_HW3.defined() ? hash.hex_digest() : "";
}

}  // namespace nightreel::render

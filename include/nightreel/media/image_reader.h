// Still pictures from files, as people name them in a job: PNG, JPEG, WebP.
//
// No state; any thread. A file that cannot be opened, is none of the three, is damaged or cut off, or claims more than
// kMaxImagePixels is an Error{job} "PATH: reason"; nothing is guessed from the name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::media {

inline constexpr std::int64_t kMaxImagePixels = 100'000'000;

struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]
};

enum class Links { followed, refused };  // refused: `path` is absolute and was resolved; a link in its way is new

/// The picture as diffusers' load_image gives it: turned as its Exif orientation says, transparency left out, greys and
/// palettes as RGB: Pillow's pixels, bit for bit.
Image read_image(const std::string& path, Links links = Links::followed);

/// The same of a file's bytes; `name` is for errors.
Image decode_image(std::string_view bytes, const std::string& name);

}  // namespace nightreel::media

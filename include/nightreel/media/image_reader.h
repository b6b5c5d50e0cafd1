// Still pictures from files, as people name them in a job: PNG, JPEG, WebP.
//
// No state; any thread. What Pillow opens is opened, and has Pillow's pixels; what it refuses is an Error{job}
// "PATH: reason", as is a file that cannot be opened, is of another format (which the message names) or claims more
// than kMaxImagePixels. Nothing is guessed from the name. tests/media/fuzz_images.py compares both on damaged files.
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
  std::string warning = {};       // what is wrong with a file that is read all the same; empty: nothing
};

enum class Links { followed, refused };  // refused: `path` is absolute and was resolved; a link in its way is new

/// The picture as diffusers' load_image gives it: turned as its Exif or XMP says, transparency left out, greys,
/// palettes and CMYK as RGB, of an animation the first picture: Pillow's pixels, bit for bit, but that of greys of 16
/// bits the higher eight count (Pillow makes them white).
Image read_image(const std::string& path, Links links = Links::followed);

/// The same of a file's bytes; `name` is for errors.
Image decode_image(std::string_view bytes, const std::string& name);

struct ImageFacts {
  const char* format = "";  // PNG, JPEG, WebP
  std::uint64_t width = 0;  // as stored, before it is turned
  std::uint64_t height = 0;
};

/// What a file is, before anything depends on it: format, size, and whether it is whole. Its pixels are unpacked where
/// they are at most `decode_up_to`; a larger file is walked through, which finds one that is cut off, and not each that
/// is damaged. Throws Error{job} as read_image() does.
ImageFacts look_at_image(const std::string& path, std::int64_t decode_up_to);

}  // namespace nightreel::media

#include "nightreel/media/image_reader.h"

#include <sys/stat.h>

#include <array>

#include "media/exif.h"
#include "media/support.h"
#include "nightreel/media/resample.h"

namespace nightreel::media::test {
namespace {

const std::array<const char*, 5> kFiles{"small.png", "palette.png", "turned.jpg", "small.webp", "lossless.webp"};

std::string bytes_of(const std::string& name) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return base::read_file(std::string(source) + "/tests/media/images/" + name, 1U << 20U);
}

/// What decode_image says of damaged bytes: empty where it takes them. Anything but an Error{job} fails the test.
std::string complaint(const std::string& bytes) {
  try {
    const Image image = decode_image(bytes, "a.png");
    CHECK(image.rgb.size() == static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
    return "";
  } catch (const base::Error& e) {
    CHECK(e.kind() == base::ErrorKind::job);
    return e.what();
  }
}

/// A JPEG file with another height and width in its frame header (FF C0, length, precision, height, width).
std::string with_jpeg_size(std::string bytes, const std::string& height_and_width) {
  const std::size_t frame = bytes.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  return bytes.replace(frame + 5, 4, height_and_width);
}

TEST_CASE("pictures of each format are read, and stand upright") {
  for (const char* name : kFiles) {
    CAPTURE(name);
    const Image image = decode_image(bytes_of(name), name);
    const bool is_turned = std::string(name) == "turned.jpg" || std::string(name) == "palette.png";
    CHECK(image.width == (is_turned ? 17 : 31));
    CHECK(image.height == (is_turned ? 31 : 17));
  }
}

TEST_CASE("a picture that is cut off anywhere is refused or whole, and never crashes the reader") {
  for (const char* name : kFiles) {
    CAPTURE(name);
    const std::string whole = bytes_of(name);
    int cuts = 0;
    int refused = 0;
    for (std::size_t length = 0; length < whole.size(); length += 1 + whole.size() / 150) {
      ++cuts;
      refused += complaint(whole.substr(0, length)).empty() ? 0 : 1;
    }
    CHECK(refused > cuts / 2);
    CHECK(contains(complaint(whole.substr(0, whole.size() / 2)), "damaged or cut off"));
    CHECK(contains(complaint(whole.substr(0, 3 * whole.size() / 4)), "damaged or cut off"));
  }
}

TEST_CASE("flipped bytes never crash the reader") {
  int refused = 0;
  int taken = 0;
  for (const char* name : kFiles) {
    CAPTURE(name);
    const std::string whole = bytes_of(name);
    for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 150) {
      for (const char change : {'\xff', '\x01', '\x80'}) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ change);
        ++(complaint(damaged).empty() ? taken : refused);
      }
    }
  }
  CHECK(refused > 100);
  CHECK(taken > 100);
}

TEST_CASE("what is no picture, or claims to be a huge one, is refused by name") {
  const std::vector<std::pair<std::string, const char*>> files{{"", "it is empty"},
                                                               {"GIF89a", "it is a GIF picture; save it as PNG"},
                                                               {"BM6", "a BMP picture"},
                                                               {std::string("II*\0", 4), "a TIFF picture"},
                                                               {std::string("\0\0\0\x1c", 4) + "ftypavif", "AVIF"},
                                                               {std::string("\0\0\0\x1c", 4) + "ftypheic", "HEIC"},
                                                               {"<!DOCTYPE html>", "a web page"},
                                                               {"version https://git-lfs.github.com", "Git LFS"},
                                                               {"RIFF", ""},
                                                               {"\xff\xd8", ""},
                                                               {std::string("RIFF\0\0\0\0WAVE", 12), ""},
                                                               {std::string("RIFF\0\0\0\0WEBPJUNK", 16), ""},
                                                               {std::string(100, '\0'), ""}};
  for (const auto& [bytes, name] : files) {
    CHECK(contains(complaint(bytes), "a.png: is no PNG, JPEG or WebP picture"));
    CHECK(contains(complaint(bytes), name));
  }
  CHECK_FALSE(complaint("\x89PNG\r\n\x1a\n").empty());
  CHECK_FALSE(complaint("\xff\xd8\xff\xd9").empty());
  // 30000 x 30000 pixels in less than a kilobyte.
  CHECK(contains(complaint(with_jpeg_size(bytes_of("turned.jpg"), "\x75\x30\x75\x30")),
                 "has 30000x30000 pixels, more than 100000000 in all"));
}

TEST_CASE("a file that is not there is the job's error, with its path") {
  CHECK(contains(error_of(base::ErrorKind::job, [] { read_image("/nowhere/a.png"); }), "/nowhere/a.png"));
}

TEST_CASE("a picture's path that was resolved leads through no link, and to no FIFO") {
  const TempFolder folder;
  put(folder / "a.jpg", bytes_of("turned.jpg"));
  std::filesystem::create_symlink("a.jpg", folder / "link.jpg");
  REQUIRE(::mkfifo((folder / "fifo.jpg").c_str(), 0600) == 0);
  const std::string real = std::filesystem::canonical(folder.path()).string() + "/";
  CHECK(read_image(real + "link.jpg").rgb == read_image(real + "a.jpg", Links::refused).rgb);
  const auto refused = [&](const char* name) {
    return error_of(base::ErrorKind::job, [&] { read_image(real + name, Links::refused); });
  };
  CHECK(contains(refused("link.jpg"), "a symbolic link"));
  CHECK(contains(refused("fifo.jpg"), "no regular file"));
}

TEST_CASE("every orientation moves the corner to its place") {
  Image image{2, 3, {}};
  for (std::uint8_t i = 0; i < 6; ++i) image.rgb.insert(image.rgb.end(), 3, i);
  const std::array<std::array<std::uint8_t, 6>, 8> expected{{{0, 1, 2, 3, 4, 5},
                                                             {1, 0, 3, 2, 5, 4},
                                                             {5, 4, 3, 2, 1, 0},
                                                             {4, 5, 2, 3, 0, 1},
                                                             {0, 2, 4, 1, 3, 5},
                                                             {4, 2, 0, 5, 3, 1},
                                                             {5, 3, 1, 4, 2, 0},
                                                             {1, 3, 5, 0, 2, 4}}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const Image upright = turned(image, orientation);
    CHECK(upright.width == (orientation < 5 ? 2 : 3));
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(upright.rgb[3 * i] == expected[static_cast<std::size_t>(orientation - 1)][i]);
    }
  }
}

TEST_CASE("a picture without pixels is not resampled") {
  CHECK_THROWS_AS(resample({}, 4, 4, Filter::lanczos), base::Error);
  CHECK_THROWS_AS(resample({1, 1, {0, 0, 0}}, 0, 4, Filter::lanczos), base::Error);
}

}  // namespace
}  // namespace nightreel::media::test

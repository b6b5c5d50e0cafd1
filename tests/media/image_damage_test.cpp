// Files that are damaged and opened all the same, as Pillow opens them, and ones that are cut off and look whole.
#include "media/image_bytes.h"
#include "media/inflate.h"
#include "media/support.h"
#include "nightreel/media/image_reader.h"

namespace nightreel::media::test {
namespace {

std::string test_image(const std::string& name) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return base::read_file(std::string(source) + "/tests/media/images/" + name, 1U << 20U);
}

std::string why_refused(const std::string& bytes) {
  return error_of(base::ErrorKind::job, [&] { decode_image(bytes, "a"); });
}

std::string little(std::uint32_t value) {
  std::string bytes;
  for (unsigned i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

/// A WebP of one chunk with a part of its data, its two sizes set to match.
std::string shortened_webp(const std::string& whole, std::size_t percent) {
  const std::size_t size = (whole.size() - 20) * percent / 100 / 2 * 2;
  return "RIFF" + little(static_cast<std::uint32_t>(size + 12)) + whole.substr(8, 8) +
         little(static_cast<std::uint32_t>(size)) + whole.substr(20, size);
}

TEST_CASE("a lossy WebP that was cut off is refused, although its sizes were set to match") {
  const std::string whole = test_image("small.webp");
  REQUIRE(whole.substr(12, 4) == "VP8 ");
  CHECK(decode_image(shortened_webp(whole, 100), "a").width == 31);
  for (const std::size_t percent : {30, 60, 90}) {
    CAPTURE(percent);
    CHECK(contains(why_refused(shortened_webp(whole, percent)), "is damaged or cut off"));
  }
}

TEST_CASE("what libjpeg conceals is opened, and told") {
  std::string damaged = test_image("turned.jpg");
  damaged.insert(damaged.size() - 2, 64, 'x');
  const Image image = decode_image(damaged, "a");
  CHECK(image.width == 17);
  CHECK(image.rgb == decode_image(test_image("turned.jpg"), "a").rgb);
  CHECK(contains(image.warning, "extraneous bytes"));
}

TEST_CASE("a file whose end mark alone is missing is opened; one that lacks pixels is not") {
  const std::string jpeg = test_image("turned.jpg");
  CHECK(why_refused(jpeg.substr(0, jpeg.size() - 60)).find("is damaged or cut off") != std::string::npos);
  const std::string png = test_image("small.png");
  const Image image = decode_image(png.substr(0, png.size() - 12), "a");  // without IEND
  CHECK(image.rgb == decode_image(png, "a").rgb);
  CHECK(image.warning == "its last chunk is missing");
  CHECK(contains(why_refused(png.substr(0, png.size() - 40)), "is damaged or cut off"));
}

std::string png_chunk(const std::string& name, const std::string& content) {
  const auto big = [](std::uint32_t value) {
    const std::string bytes = little(value);
    return std::string(bytes.rbegin(), bytes.rend());
  };
  return big(static_cast<std::uint32_t>(content.size())) + name + content + big(crc32_of(name + content));
}

/// One row of three grey pixels, stored: filter, values.
std::string grey_png(const std::string& extra, const std::string& values) {
  const std::string header("\0\0\0\3\0\0\0\1\x08\0\0\0\0", 13);
  const std::string row = '\0' + values;
  const auto size = static_cast<char>(row.size());
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const char c : row) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  const std::string sum = little(b << 16U | a);
  const std::string stream = std::string("\x78\x01\x01", 3) + size + '\0' + static_cast<char>(~size) + '\xff' + row +
                             std::string(sum.rbegin(), sum.rend());
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + extra + png_chunk("IDAT", stream) + png_chunk("IEND", "");
}

TEST_CASE("PNG: chunks are walked as Pillow walks them") {
  const std::string values = "\x10\x80\xf0";
  const auto read = [&](const std::string& extra) { return decode_image(grey_png(extra, values), "a"); };
  const std::vector<std::uint8_t> grey{0x10, 0x10, 0x10, 0x80, 0x80, 0x80, 0xf0, 0xf0, 0xf0};
  CHECK(read("").rgb == grey);
  CHECK(read(png_chunk("abCd", "whatever")).rgb == grey);
  CHECK(read(png_chunk("eXIf", "nonsense")).rgb == grey);
  CHECK(contains(read(png_chunk("eXIf", "nonsense")).warning, "Exif"));
  CHECK(contains(why_refused(grey_png(png_chunk("gAMA", "1"), values)), "gAMA is too short"));
  CHECK(
      contains(why_refused(grey_png(png_chunk("zTXt", std::string("a\0\1x", 4)), values)), "packed in an unknown way"));
  std::string damaged = grey_png(png_chunk("tEXt", "words"), values);
  damaged[damaged.find("words")] = 'W';
  CHECK(contains(why_refused(damaged), "the checksum of its chunk tEXt is wrong"));
  const std::string upright = png_chunk("tEXt", std::string("XML:com.adobe.xmp\0tiff:Orientation=\"6\"", 38));
  CHECK(read(upright).height == 3);
}

TEST_CASE("PNG: pixels that stop early by themselves leave black, pixels that are cut off are refused") {
  const std::string header("\0\0\0\3\0\0\0\2\x08\0\0\0\0", 13);  // two rows, of which one comes
  std::string png = grey_png("", "\x10\x80\xf0");
  const std::size_t at = png.find("IHDR") - 4;
  png.replace(at, 25, png_chunk("IHDR", header));
  const Image image = decode_image(png, "a");
  CHECK(image.height == 2);
  CHECK(image.rgb[8] == 0xf0);
  CHECK(std::all_of(image.rgb.begin() + 9, image.rgb.end(), [](std::uint8_t value) { return value == 0; }));
  CHECK(image.warning == "its pixels end before its last row");
}

TEST_CASE("a look tells format, size and whether a file is whole, decoding it or not") {
  const TempFolder folder;
  for (const char* name : {"small.png", "turned.jpg", "small.webp"}) {
    CAPTURE(name);
    const std::string whole = test_image(name);
    for (const std::int64_t decoded : {std::int64_t{0}, std::int64_t{1} << 20}) {
      put(folder / name, whole);
      const ImageFacts facts = look_at_image(folder / name, decoded);
      CHECK(facts.width == 31);
      CHECK(facts.height == 17);
      CHECK(contains("PNG JPEG WebP", facts.format));
      put(folder / name, whole.substr(0, whole.size() / 2));
      const auto look = [&] { look_at_image(folder / name, decoded); };
      const std::string why = error_of(base::ErrorKind::job, look);
      CHECK(contains(why, folder / name));
      CHECK(contains(why, "is damaged or cut off"));
    }
  }
  put(folder / "a.png", "GIF89a");
  CHECK(contains(error_of(base::ErrorKind::job, [&] { look_at_image(folder / "a.png", 0); }), "GIF"));
  error_of(base::ErrorKind::job, [&] { look_at_image(folder / "none.png", 0); });
}

}  // namespace
}  // namespace nightreel::media::test

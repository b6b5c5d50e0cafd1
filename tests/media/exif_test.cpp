// How a picture says that it is turned, in every form that Pillow honours; fuzz_images.py asks Pillow itself.
#include "media/exif.h"

#include "media/support.h"

namespace nightreel::media::test {
namespace {

std::string number_bytes(std::uint64_t value, std::size_t size, bool big_endian) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t place = big_endian ? size - 1 - i : i;
    bytes += static_cast<char>(value >> (8 * place));
  }
  return bytes;
}

/// A TIFF header and one list with one tag: 274, of this type, whose values' bytes are `data`.
std::string tiff_of(std::uint64_t type, std::uint64_t count, const std::string& data, bool big_endian) {
  const auto number = [&](std::uint64_t value, std::size_t size) { return number_bytes(value, size, big_endian); };
  const std::string head = std::string(big_endian ? "MM" : "II") + number(42, 2) + number(8, 4);
  const bool inside = data.size() <= 4;
  const std::string place = inside ? data + std::string(4 - data.size(), '\0') : number(26, 4);
  return head + number(1, 2) + number(274, 2) + number(type, 2) + number(count, 4) + place + number(0, 4) +
         (inside ? "" : data);
}

int orientation_in(const std::string& exif, std::string* said = nullptr) {
  ImageMetadata metadata;
  metadata.exif = exif;
  std::string warning;
  const int orientation = orientation_of(metadata, warning);
  if (said != nullptr) *said = warning;
  return orientation;
}

TEST_CASE("an orientation of any number's type counts, in either byte order; bytes and texts do not") {
  struct Row {
    std::uint64_t type;
    std::size_t size;
    std::uint64_t value;
    int orientation;
  };
  for (const bool big : {false, true}) {
    for (const Row& row : {Row{3, 2, 6, 6},           Row{4, 4, 6, 6},           Row{13, 4, 8, 8},
                           Row{16, 8, 3, 3},          Row{6, 1, 5, 5},           Row{8, 2, 7, 7},
                           Row{9, 4, 2, 2},           Row{11, 4, 0x40C00000, 6}, Row{12, 8, 0x4018000000000000, 6},
                           Row{11, 4, 0x40D00000, 1}, Row{11, 4, 0x7FC00000, 1}, Row{1, 1, 6, 1},
                           Row{7, 1, 6, 1},           Row{2, 1, '6', 1},         Row{3, 2, 0, 1},
                           Row{3, 2, 9, 1},           Row{4, 4, 0xFFFFFFFF, 1},  Row{9, 4, 0xFFFFFFFA, 1},
                           Row{14, 2, 6, 1},          Row{17, 2, 6, 1}}) {
      CAPTURE(row.type);
      CAPTURE(row.value);
      CHECK(orientation_in(tiff_of(row.type, 1, number_bytes(row.value, row.size, big), big)) == row.orientation);
    }
    const auto fraction = [&](std::uint64_t above, std::uint64_t below) {
      return number_bytes(above, 4, big) + number_bytes(below, 4, big);
    };
    CHECK(orientation_in(tiff_of(5, 1, fraction(12, 2), big)) == 6);
    CHECK(orientation_in(tiff_of(10, 1, fraction(0xFFFFFFFA, 0xFFFFFFFF), big)) == 6);
    CHECK(orientation_in(tiff_of(5, 1, fraction(13, 2), big)) == 1);
    CHECK(orientation_in(tiff_of(5, 1, fraction(6, 0), big)) == 1);
    // Of several values the first; of none nothing.
    CHECK(orientation_in(
              tiff_of(3, 3, number_bytes(8, 2, big) + number_bytes(3, 2, big) + number_bytes(6, 2, big), big)) == 8);
    CHECK(orientation_in(tiff_of(3, 0, "", big)) == 1);
  }
}

TEST_CASE("Exif that is cut off or changed anywhere gives an orientation or none, and says what is wrong") {
  const std::string whole = tiff_of(4, 1, number_bytes(6, 4, false), false);
  std::string warning;
  CHECK(orientation_in(std::string("Exif\0\0", 6) + whole) == 6);
  CHECK(orientation_in(std::string("Exif\0\0Exif\0\0", 12) + whole) == 6);
  CHECK(orientation_in("", &warning) == 1);
  CHECK(warning.empty());
  for (std::size_t length = 1; length < 22; ++length) {
    CHECK(orientation_in(whole.substr(0, length), &warning) == 1);
    CHECK_FALSE(warning.empty());
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = '\xff';
    const int orientation = orientation_in(damaged);
    CHECK((orientation == 1 || orientation == 6));
  }
  CHECK(orientation_in(std::string("II+\0", 4) + whole.substr(4), &warning) == 1);
  CHECK(contains(warning, "Exif"));
}

TEST_CASE("XMP counts where Exif says nothing, in both of its spellings") {
  struct Row {
    const char* xmp;
    int orientation;
  };
  for (const Row& row :
       {Row{R"(<a tiff:Orientation="6"/>)", 6}, Row{"<tiff:Orientation>8</tiff:Orientation>", 8},
        Row{"tiff:Orientation='6'", 1}, Row{R"(tiff:Orientation="x" tiff:Orientation="3")", 3},
        Row{R"(tiff:Orientation="9")", 1}, Row{R"(tiff:Orientation=")", 1}, Row{"tiff:Orientation", 1}, Row{"", 1}}) {
    CAPTURE(row.xmp);
    ImageMetadata metadata;
    metadata.xmp = row.xmp;
    std::string warning;
    CHECK(orientation_of(metadata, warning) == row.orientation);
    metadata.exif = tiff_of(3, 1, number_bytes(2, 2, false), false);
    CHECK(orientation_of(metadata, warning) == 2);
    metadata.exif = tiff_of(1, 1, "\x06", false);  // there, and no number
    CHECK(orientation_of(metadata, warning) == 1);
    CHECK(warning.empty());
  }
}

TEST_CASE("PNG's hexadecimal profile is Exif too") {
  const std::string tiff = tiff_of(3, 1, number_bytes(6, 2, false), false);
  std::string hex;
  for (const char c : tiff) {
    constexpr const char* kDigits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    hex += {kDigits[byte >> 4U], kDigits[byte & 15U]};
    if (hex.size() % 36 == 0) hex += '\n';
  }
  ImageMetadata metadata;
  std::string warning;
  metadata.raw_profile = "\nexif\n      26\n" + hex + "\n";
  CHECK(orientation_of(metadata, warning) == 6);
  CHECK(warning.empty());
  metadata.raw_profile = "\nexif\n      26\n" + hex + "xx\n";
  CHECK(orientation_of(metadata, warning) == 1);
  CHECK(contains(warning, "Exif"));
}

}  // namespace
}  // namespace nightreel::media::test

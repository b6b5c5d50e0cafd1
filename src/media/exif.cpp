#include "media/exif.h"

#include <array>
#include <cmath>
#include <cstring>
#include <set>

namespace nightreel::media {
namespace {

constexpr std::uint64_t kOrientationTag = 0x0112;
constexpr std::string_view kExifPrefix("Exif\0\0", 6);

/// Bytes of one value of each TIFF type; 0: the type is read over.
constexpr std::array<std::uint64_t, 17> kUnit{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};

/// One entry's first value where it is a whole number.
std::optional<int> whole(double value) {
  if (!(std::fabs(value) < 1000) || value != std::floor(value)) return std::nullopt;
  return static_cast<int>(value);
}

std::int64_t with_sign(std::uint64_t value, std::size_t size) {
  const auto unused = 64 - 8 * size;
  return static_cast<std::int64_t>(value << unused) >> unused;
}

std::optional<int> quotient(std::int64_t above, std::int64_t below) {
  if (below == 0 || above % below != 0) return std::nullopt;
  return whole(static_cast<double>(above / below));
}

/// The first value of `data`, of TIFF's type `type`.
std::optional<int> first_number(std::string_view data, std::uint64_t type, bool big_endian) {
  const auto raw = [&](std::size_t at, std::size_t size) { return number_at(data, at, size, big_endian).value_or(0); };
  switch (type) {
    case 3:  // SHORT
      return whole(static_cast<double>(raw(0, 2)));
    case 4:   // LONG
    case 13:  // IFD
      return whole(static_cast<double>(raw(0, 4)));
    case 16:  // LONG8
      return whole(static_cast<double>(raw(0, 8)));
    case 6:  // SBYTE
      return whole(static_cast<double>(with_sign(raw(0, 1), 1)));
    case 8:  // SSHORT
      return whole(static_cast<double>(with_sign(raw(0, 2), 2)));
    case 9:  // SLONG
      return whole(static_cast<double>(with_sign(raw(0, 4), 4)));
    case 5:  // RATIONAL
      return quotient(static_cast<std::int64_t>(raw(0, 4)), static_cast<std::int64_t>(raw(4, 4)));
    case 10:  // SRATIONAL
      return quotient(with_sign(raw(0, 4), 4), with_sign(raw(4, 4), 4));
    case 11: {  // FLOAT
      const auto bits = static_cast<std::uint32_t>(raw(0, 4));
      float value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return whole(value);
    }
    case 12: {  // DOUBLE
      const std::uint64_t bits = raw(0, 8);
      double value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return whole(value);
    }
    default:  // BYTE, ASCII, UNDEFINED: no number to Pillow
      return std::nullopt;
  }
}

/// What a list of tags says: nothing, or that the tag is there, with its number or without one.
struct Found {
  bool there = false;
  std::optional<int> number;
};

/// Walks the first list of tags. Entries lie in the list where they fit into four bytes, else behind an offset.
class TagList {
 public:
  TagList(std::string_view tiff, bool big_endian) : tiff_(tiff), big_endian_(big_endian) {}

  Found orientation() {
    const auto start = number(4, 4);
    const auto count = start ? number(*start, 2) : std::nullopt;
    if (!count) cut_ = true;
    for (std::uint64_t i = 0; count && i < *count && !cut_; ++i) entry(static_cast<std::size_t>(*start + 2 + 12 * i));
    return found_;
  }
  bool cut() const { return cut_; }

 private:
  std::optional<std::uint64_t> number(std::uint64_t at, std::size_t size) const {
    return number_at(tiff_, static_cast<std::size_t>(at), size, big_endian_);
  }

  void entry(std::size_t at) {
    const auto tag = number(at, 2);
    const auto type = number(at + 2, 2);
    const auto count = number(at + 4, 4);
    const auto place = number(at + 8, 4);
    if (!place) {
      cut_ = true;
      return;
    }
    if (known_.count(*tag) > 0 || *type >= kUnit.size() || kUnit[*type] == 0) return;
    take(*tag, *type, *count * kUnit[*type], at + 8, *place);
  }

  void take(std::uint64_t tag, std::uint64_t type, std::uint64_t size, std::size_t inside, std::uint64_t outside) {
    std::string_view data = tiff_.substr(inside);
    if (size > 4) {
      total_ += size;
      if (total_ > tiff_.size()) return;  // Pillow reads no more than the file holds
      cut_ = outside > tiff_.size() || tiff_.size() - outside < size;
      if (cut_) return;
      data = tiff_.substr(static_cast<std::size_t>(outside));
    }
    if (size == 0) return;
    known_.insert(tag);
    if (tag == kOrientationTag) found_ = {true, first_number(data.substr(0, size), type, big_endian_)};
  }

  std::string_view tiff_;
  bool big_endian_;
  bool cut_ = false;
  std::uint64_t total_ = 0;
  std::set<std::uint64_t> known_;
  Found found_;
};

bool is_tiff(std::string_view head) {
  constexpr std::array<std::string_view, 5> kHeads{
      {{"II*\0", 4}, {"MM\0*", 4}, {"II\0*", 4}, {"MM*\0", 4}, {"MM\0+", 4}}};
  for (const std::string_view known : kHeads) {
    if (head.substr(0, 4) == known) return head.size() >= 8;
  }
  return false;
}

Found exif_says(std::string_view exif, std::string& warning) {
  for (int i = 0; i < 2 && exif.substr(0, kExifPrefix.size()) == kExifPrefix; ++i)
    exif.remove_prefix(kExifPrefix.size());
  if (exif.empty()) return {};
  if (!is_tiff(exif)) {
    warning = "its Exif data cannot be read: it is taken as it lies";
    return {true, std::nullopt};
  }
  TagList tags(exif, exif[0] == 'M');
  const Found found = tags.orientation();
  if (tags.cut()) warning = "its Exif data are damaged or cut off";
  return found;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// "\nexif\n     142\n4578…": what stands below the third line break; nothing where that are no pairs of hex digits.
std::optional<std::string> from_hex_lines(std::string_view text) {
  for (int i = 0; i < 3; ++i) {
    const auto end = text.find('\n');
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    if (high < 0 && std::string_view(" \t\n\r\f\v").find(c) != std::string_view::npos) continue;
    if (c == '\n') continue;
    const int digit = hex_digit(c);
    if (digit < 0) return std::nullopt;
    if (high >= 0) bytes += static_cast<char>(high * 16 + digit);
    high = high < 0 ? digit : -1;
  }
  return high < 0 ? std::optional(bytes) : std::nullopt;
}

Found profile_says(const std::string& profile, std::string& warning) {
  const auto exif = from_hex_lines(profile);
  if (exif) return exif_says(*exif, warning);
  warning = "its Exif data cannot be read: it is taken as it lies";
  return {true, std::nullopt};
}

/// tiff:Orientation="6" or <tiff:Orientation>6<, the first of them.
int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (auto at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    const std::size_t mark = rest.substr(0, 2) == "=\"" ? 2 : rest.substr(0, 1) == ">" ? 1 : 0;
    if (mark == 0 || rest.size() <= mark || rest[mark] < '0' || rest[mark] > '9') continue;
    return rest[mark] - '0';
  }
  return 1;
}

}  // namespace

int orientation_of(const ImageMetadata& metadata, std::string& warning) {
  Found found;
  if (metadata.exif) {
    found = exif_says(*metadata.exif, warning);
  } else if (metadata.raw_profile) {
    found = profile_says(*metadata.raw_profile, warning);
  }
  const int orientation = found.there ? found.number.value_or(1) : xmp_orientation(metadata.xmp);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

Image turned(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool swaps = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright{swaps ? image.height : image.width, swaps ? image.width : image.height, {}, image.warning};
  upright.rgb.reserve(image.rgb.size());
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      const int column = swaps ? y : x;
      const int row = swaps ? x : y;
      const int from_x = from_right ? image.width - 1 - column : column;
      const int from_y = from_below ? image.height - 1 - row : row;
      const auto at = (static_cast<std::size_t>(from_y) * static_cast<std::size_t>(image.width) +
                       static_cast<std::size_t>(from_x)) *
                      3;
      for (std::size_t channel = 0; channel < 3; ++channel) upright.rgb.push_back(image.rgb[at + channel]);
    }
  }
  return upright;
}

}  // namespace nightreel::media

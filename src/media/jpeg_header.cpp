#include "media/jpeg_header.h"

namespace nightreel::media {
namespace {

constexpr std::string_view kExifSegment("Exif\0\0", 6);
constexpr std::string_view kXmpSegment("http://ns.adobe.com/xap/1.0/\0", 29);

bool begins_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

/// The second byte of a marker; the names of ITU T.81, table B.1.
bool is_frame(unsigned char marker) {
  if (marker == 0xDE) return true;  // DHP, as Pillow takes it
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}
bool stands_alone(unsigned char marker) {
  return marker == 0xC8 || (marker >= 0xD0 && marker <= 0xD9) || (marker >= 0xF0 && marker <= 0xFD);
}
constexpr unsigned char kStartOfScan = 0xDA;
constexpr unsigned char kEndOfImage = 0xD9;

class JpegSegments {
 public:
  explicit JpegSegments(std::string_view file) : file_(file) {}

  JpegHeader read() {
    for (unsigned char marker = next_marker(); marker != kStartOfScan; marker = next_marker()) {
      if (stands_alone(marker)) continue;
      const std::string_view content = segment();
      if (is_frame(marker)) frame(content);
      if (marker == 0xE0 && begins_with(content, "JFIF") && content.size() < 7)
        refuse_damaged("its JFIF segment is cut off");
      if (marker == 0xE1) application(content);
      if (marker == 0xEE && begins_with(content, "Adobe") && content.size() < 7) {
        refuse_damaged("its Adobe segment is cut off");
      }
    }
    header_.scan = at_;
    segment();
    if (header_.components == 0) refuse_damaged("it has no frame header");
    return std::move(header_);
  }

 private:
  /// Passes over what is no marker; FF may be repeated before one.
  unsigned char next_marker() {
    for (;;) {
      while (byte() != 0xFF) ++at_;
      while (byte() == 0xFF) ++at_;
      const unsigned char marker = byte();
      ++at_;
      if (marker >= 0xC0) return marker;
      if (marker != 0) refuse_damaged("its header is no JPEG header");
    }
  }

  unsigned char byte() const {
    if (at_ >= file_.size()) refuse_damaged("the file ends in its header");
    return static_cast<unsigned char>(file_[at_]);
  }

  /// Length, with its own two bytes, and content.
  std::string_view segment() {
    const auto length = number_at(file_, at_, 2, true);
    if (!length) refuse_damaged("the file ends in its header");
    at_ += 2;
    const std::size_t size = *length < 2 ? 0 : *length - 2;
    if (file_.size() - at_ < size) refuse_damaged("the file ends in its header");
    at_ += size;
    return file_.substr(at_ - size, size);
  }

  void frame(std::string_view content) {
    if (content.size() < 6 || (content.size() - 6) % 3 != 0) refuse_damaged("its frame header is cut off");
    const auto number = [&](std::size_t at, std::size_t size) {
      return static_cast<int>(number_at(content, at, size, true).value_or(0));
    };
    if (number(0, 1) != 8) {
      throw base::Error(base::ErrorKind::job, "its colours have " + std::to_string(number(0, 1)) +
                                                  " bits, JPEG is read with 8: save it as PNG");
    }
    header_.height = number(1, 2);
    header_.width = number(3, 2);
    header_.components = number(5, 1);
    if (header_.components != 1 && header_.components != 3 && header_.components != 4) {
      refuse_damaged("it has " + std::to_string(header_.components) + " components");
    }
  }

  void application(std::string_view content) {
    auto& exif = header_.metadata.exif;
    if (begins_with(content, kExifSegment)) {
      exif = exif ? *exif + std::string(content.substr(kExifSegment.size())) : std::string(content);
    } else if (begins_with(content, kXmpSegment)) {
      header_.metadata.xmp = content.substr(kXmpSegment.size());
    }
  }

  std::string_view file_;
  std::size_t at_ = 2;  // behind the start of image
  JpegHeader header_;
};

}  // namespace

JpegHeader read_jpeg_header(std::string_view file) {
  return JpegSegments(file).read();
}

bool has_jpeg_end(std::string_view file, std::size_t scan) {
  for (std::size_t at = scan;;) {  // at a segment
    const auto length = number_at(file, at, 2, true);
    if (!length) return false;
    at += static_cast<std::size_t>(*length);
    for (;;) {  // in the scan's data: FF 00 is data, FF D0 to D7 are restarts
      at = file.find('\xff', at);
      if (at == std::string_view::npos || at + 1 >= file.size()) return false;
      const auto marker = static_cast<unsigned char>(file[at + 1]);
      at += marker == 0xFF ? 1 : 2;
      if (marker == kEndOfImage) return true;
      if (marker >= 0xC0 && !(marker >= 0xD0 && marker <= 0xD7)) break;
    }
  }
}

}  // namespace nightreel::media

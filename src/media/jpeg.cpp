// The file is handed on in pieces as Pillow does it (JpegDecode.c): what stands behind the last row is only looked at
// as far as the piece that ends the picture.
#include "media/jpeg.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
// libjpeg's header wants the two above.
#include <jpeglib.h>

namespace nightreel::media {
namespace {

constexpr std::size_t kPiece = 65536;  // ImageFile.MAXBLOCK
constexpr int kMostScans = 500;        // a few kilobytes can hold thousands, each a pass over all pixels

enum class Fed { needs_more, done, failed };

/// libjpeg reports through these; they come first, so that its pointers are ours.
struct Complaints {
  jpeg_error_mgr base;
  std::jmp_buf out;
  std::array<char, JMSG_LENGTH_MAX> error;
  std::array<char, JMSG_LENGTH_MAX> warning;
};

[[noreturn]] void give_up(j_common_ptr decoder) {
  auto* complaints = reinterpret_cast<Complaints*>(decoder->err);
  decoder->err->format_message(decoder, complaints->error.data());
  std::longjmp(complaints->out, 1);
}

void keep_warning(j_common_ptr decoder, int level) {
  if (level >= 0) return;  // a trace
  auto* complaints = reinterpret_cast<Complaints*>(decoder->err);
  if (decoder->err->num_warnings++ == 0) decoder->err->format_message(decoder, complaints->warning.data());
}

void do_nothing(j_decompress_ptr) {}

boolean wait_for_more(j_decompress_ptr) {
  return FALSE;
}

/// A source that knows how much is still to be passed over when the next piece comes.
struct PieceSource {
  jpeg_source_mgr base;
  std::size_t skip;
};

void skip_bytes(j_decompress_ptr decoder, long wanted) {
  if (wanted <= 0) return;
  auto* source = reinterpret_cast<PieceSource*>(decoder->src);
  const std::size_t here = std::min(static_cast<std::size_t>(wanted), source->base.bytes_in_buffer);
  source->base.next_input_byte += here;
  source->base.bytes_in_buffer -= here;
  source->skip = static_cast<std::size_t>(wanted) - here;
}

void count_scans(j_common_ptr decoder) {
  auto* self = reinterpret_cast<j_decompress_ptr>(decoder);
  if (self->input_scan_number <= kMostScans) return;
  auto* complaints = reinterpret_cast<Complaints*>(decoder->err);
  std::snprintf(complaints->error.data(), complaints->error.size(), "it has more than %d scans", kMostScans);
  std::longjmp(complaints->out, 1);
}

/// MULDIV255 of Pillow's ImagingUtils.h.
int times_255th(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/// As Pillow does "CMYK;I" (Unpack.c) and cmyk2rgb (Convert.c).
void cmyk_pixel(const JSAMPLE* inverted, std::uint8_t* rgb) {
  const int light = inverted[3];
  for (std::size_t i = 0; i < 3; ++i) {
    rgb[i] = static_cast<std::uint8_t>(std::clamp(light - times_255th(255 - inverted[i], light), 0, 255));
  }
}

class JpegDecoder {
 public:
  JpegDecoder(std::string_view bytes, const JpegHeader& header, Image& image)
      : bytes_(bytes), header_(header), image_(image) {
    decoder_.err = jpeg_std_error(&complaints_.base);
    complaints_.base.error_exit = give_up;
    complaints_.base.emit_message = keep_warning;
    source_.base.init_source = do_nothing;
    source_.base.fill_input_buffer = wait_for_more;
    source_.base.skip_input_data = skip_bytes;
    source_.base.resync_to_restart = jpeg_resync_to_restart;
    source_.base.term_source = do_nothing;
    progress_.progress_monitor = count_scans;
    row_.resize(static_cast<std::size_t>(header.width) * static_cast<std::size_t>(header.components));
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&decoder_); }

  /// Decodes what it can of the first `limit` bytes. Between setjmp and longjmp stand libjpeg's frames and nothing that
  /// has a destructor.
  Fed feed(std::size_t limit) {
    if (setjmp(complaints_.out) != 0) return Fed::failed;
    if (!created_) create();
    source_.base.next_input_byte = reinterpret_cast<const JOCTET*>(bytes_.data()) + used_;
    source_.base.bytes_in_buffer = limit - used_;
    if (source_.skip > 0) skip_bytes(&decoder_, static_cast<long>(source_.skip));
    const bool done = source_.skip == 0 && step();
    used_ = limit - source_.base.bytes_in_buffer;
    return done ? Fed::done : Fed::needs_more;
  }

  const char* error() const { return complaints_.error.data(); }
  const char* warning() const { return complaints_.warning.data(); }

 private:
  void create() {
    jpeg_create_decompress(&decoder_);
    decoder_.src = &source_.base;
    decoder_.progress = &progress_;
    created_ = true;
  }

  /// True at the end of the picture; false where more bytes are wanted.
  bool step() {
    return (stage_ > 0 || read_header()) && (stage_ > 1 || start()) && (stage_ > 2 || read_rows()) && finish();
  }

  bool read_header() {
    int found = JPEG_HEADER_TABLES_ONLY;
    while (found == JPEG_HEADER_TABLES_ONLY) found = jpeg_read_header(&decoder_, FALSE);
    if (found == JPEG_SUSPENDED) return false;
    decoder_.out_color_space = header_.components == 1 ? JCS_GRAYSCALE : header_.components == 3 ? JCS_RGB : JCS_CMYK;
    stage_ = 1;
    return true;
  }

  bool start() {
    if (jpeg_start_decompress(&decoder_) == FALSE) return false;
    const bool alike = static_cast<int>(decoder_.output_width) == header_.width &&
                       static_cast<int>(decoder_.output_height) == header_.height &&
                       decoder_.output_components == header_.components;
    if (!alike) {
      std::snprintf(complaints_.error.data(), complaints_.error.size(), "its headers contradict each other");
      std::longjmp(complaints_.out, 1);
    }
    stage_ = 2;
    return true;
  }

  bool read_rows() {
    while (y_ < header_.height) {
      JSAMPROW row = row_.data();
      if (jpeg_read_scanlines(&decoder_, &row, 1) != 1) return false;
      keep_row();
      ++y_;
    }
    stage_ = 3;
    return true;
  }

  void keep_row() {
    const auto width = static_cast<std::size_t>(header_.width);
    std::uint8_t* out = image_.rgb.data() + static_cast<std::size_t>(y_) * width * 3;
    const JSAMPLE* in = row_.data();
    if (header_.components == 3) {
      std::memcpy(out, in, width * 3);
      return;
    }
    for (std::size_t x = 0; x < width; ++x, out += 3) {
      if (header_.components == 1) {
        std::memset(out, in[x], 3);
      } else {
        cmyk_pixel(in + 4 * x, out);
      }
    }
  }

  /// Every row is there: whether the end is marked does not count. Where a damaged progressive file lacks scans,
  /// libjpeg-turbo guesses what they held, and each of its releases guesses otherwise: that is no picture to rely on.
  bool finish() {
    const bool guessed = decoder_.progressive_mode != FALSE && complaints_.base.num_warnings > 0 && lacks_scans();
    jpeg_finish_decompress(&decoder_);
    if (guessed) {
      std::snprintf(complaints_.error.data(), complaints_.error.size(), "some of its scans are missing");
      std::longjmp(complaints_.out, 1);
    }
    return true;
  }

  /// Of a coefficient, -1: no scan brought it; above 0: so many of its bits are missing.
  bool lacks_scans() const {
    constexpr int kGuessed = 10;  // jdcoefct.c, SAVED_COEFS
    for (int component = 0; component < decoder_.num_components; ++component) {
      const int* bits = decoder_.coef_bits[component];
      if (std::any_of(bits, bits + kGuessed, [](int missing) { return missing != 0; })) return true;
    }
    return false;
  }

  std::string_view bytes_;
  const JpegHeader& header_;
  Image& image_;
  jpeg_decompress_struct decoder_{};
  Complaints complaints_{};
  PieceSource source_{};
  jpeg_progress_mgr progress_{};
  std::vector<JSAMPLE> row_;
  bool created_ = false;
  int stage_ = 0;  // how many of header, start and rows are done
  int y_ = 0;
  std::size_t used_ = 0;
};

}  // namespace

Image read_jpeg(std::string_view bytes, const JpegHeader& header) {
  Image image{header.width, header.height, {}};
  image.rgb.resize(static_cast<std::size_t>(header.width) * static_cast<std::size_t>(header.height) * 3);
  JpegDecoder decoder(bytes, header, image);
  Fed fed = Fed::needs_more;
  for (std::size_t limit = 0; fed == Fed::needs_more;) {
    if (limit == bytes.size()) refuse_damaged("the file ends before its last row");
    limit = std::min(limit + kPiece, bytes.size());
    fed = decoder.feed(limit);
  }
  if (fed == Fed::failed) refuse_damaged(base::printable(decoder.error()));
  image.warning = base::printable(decoder.warning());
  return image;
}

}  // namespace nightreel::media

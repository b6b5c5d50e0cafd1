#include "media/png_chunks.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "media/inflate.h"

namespace nightreel::media {
namespace {

constexpr std::size_t kPngPiece = 65536;            // ImageFile.MAXBLOCK
constexpr std::size_t kMostText = 1U << 20U;        // MAX_TEXT_CHUNK
constexpr std::size_t kMostTexts = 64 * kMostText;  // MAX_TEXT_MEMORY
constexpr std::uint64_t kMostFrames = 0x80000000ULL;

/// Bytes that a chunk must hold at least.
struct LeastLength {
  std::string_view type;
  std::uint64_t length;
};
constexpr std::array<LeastLength, 5> kLeast{{{"IHDR", 13}, {"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1}, {"pHYs", 9}}};

bool is_chunk_name(std::string_view name) {
  return name.size() == 4 && std::all_of(name.begin(), name.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
         });
}

std::uint64_t big(std::string_view content, std::size_t at, std::size_t size = 4) {
  return number_at(content, at, size, true).value_or(0);
}

bool is_known_kind(std::uint64_t depth, std::uint64_t colour) {
  switch (colour) {
    case 0:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case 3:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2:
    case 4:
    case 6:
      return depth == 8 || depth == 16;
    default:
      return false;
  }
}

/// What stands before and behind the first zero byte; nothing where there is none.
std::optional<std::pair<std::string_view, std::string_view>> split_at_zero(std::string_view text) {
  const auto zero = text.find('\0');
  if (zero == std::string_view::npos) return std::nullopt;
  return std::pair(text.substr(0, zero), text.substr(zero + 1));
}

}  // namespace

PngChunks::PngChunks(std::string_view file) : file_(file) {
  while (!pixels_found_) {
    const auto chunk = read_chunk();
    if (!chunk) refuse_damaged("the file ends before its pixels, or what stands there is no chunk");
    if (chunk->type == "IEND") refuse_damaged("it has no pixels");
    const std::size_t start = at_;
    const Call called = call(*chunk);
    if (called == Call::pixels) {
      left_in_chunk_ = chunk->type == "fdAT" ? chunk->length - 4 : chunk->length;
      break;
    }
    if (called == Call::unknown) take(chunk->length);
    check_sum(*chunk, start);
  }
  header_ = state_;
  if (header_.colour_type < 0) refuse_damaged("its header names no kind of pixels that PNG knows");
  header_.box = frame_.value_or(PngBox{0, 0, header_.width, header_.height});
}

std::string_view PngChunks::next_piece() {
  while (left_in_chunk_ == 0) {
    skip(4);
    const std::size_t start = at_;
    const auto chunk = read_chunk();
    if (!chunk) refuse_damaged("the file ends in its pixels, or what stands there is no chunk");
    if (chunk->type != "IDAT" && chunk->type != "DDAT" && chunk->type != "fdAT") {
      at_ = start;
      return {};
    }
    left_in_chunk_ = chunk->length;
    if (chunk->type == "fdAT") {
      call(*chunk);
      left_in_chunk_ = chunk->length - 4;
    }
  }
  const auto size = std::min({left_in_chunk_, std::uint64_t{kPngPiece}, std::uint64_t{file_.size() - at_}});
  left_in_chunk_ -= std::min(left_in_chunk_, std::uint64_t{kPngPiece});
  return take(size);
}

void PngChunks::finish() {
  skip(left_in_chunk_);
  left_in_chunk_ = 0;
  const bool animated = frames_.value_or(1) + (default_picture_ ? 1 : 0) > 1;
  for (;;) {
    skip(4);
    const auto chunk = read_chunk();
    if (!chunk) return;
    whole_ = chunk->type == "IEND" || (chunk->type == "fcTL" && animated);
    if (whole_) return;
    const Call called = call(*chunk);
    if (called != Call::read) take(chunk->length - (called == Call::pixels && chunk->type == "fdAT" ? 4 : 0));
  }
}

std::optional<PngChunks::Chunk> PngChunks::read_chunk() {
  const std::string_view head = file_.substr(at_, 8);
  at_ += head.size();
  if (head.size() < 8 || !is_chunk_name(head.substr(4))) return std::nullopt;
  return Chunk{head.substr(4), big(head, 0)};
}

std::string_view PngChunks::take(std::uint64_t size) {
  if (file_.size() - at_ < size) refuse_damaged("the file ends in a chunk");
  at_ += static_cast<std::size_t>(size);
  return file_.substr(at_ - static_cast<std::size_t>(size), static_cast<std::size_t>(size));
}

void PngChunks::skip(std::uint64_t size) {
  at_ += static_cast<std::size_t>(std::min(size, std::uint64_t{file_.size() - at_}));
}

/// `start`: of the chunk's content. Of the chunks before the pixels only, as Pillow does.
void PngChunks::check_sum(const Chunk& chunk, std::size_t start) {
  const std::uint32_t sum = crc32_of(file_.substr(start - 4, at_ - start + 4));
  if (big(take(4), 0) != sum) refuse_damaged("the checksum of its chunk " + std::string(chunk.type) + " is wrong");
}

PngChunks::Call PngChunks::call(const Chunk& chunk) {
  const std::string_view type = chunk.type;
  if (type == "IDAT")
    return state_.colour_type < 0 ? Call::unknown : begin_pixels();  // before its header it is nothing
  if (type == "acTL" || type == "fcTL" || type == "fdAT") return call_animation(chunk);
  using Reading = void (PngChunks::*)(std::string_view);
  static constexpr std::array<std::pair<std::string_view, Reading>, 6> kReadings{
      {{"IHDR", &PngChunks::read_header},
       {"iCCP", &PngChunks::read_profile},
       {"tRNS", &PngChunks::read_transparency},
       {"tEXt", &PngChunks::read_text},
       {"zTXt", &PngChunks::read_packed_text},
       {"iTXt", &PngChunks::read_international_text}}};
  const auto least = std::find_if(kLeast.begin(), kLeast.end(), [&](const auto& one) { return one.type == type; });
  const auto* reading =
      std::find_if(kReadings.begin(), kReadings.end(), [&](const auto& one) { return one.first == type; });
  if (least == kLeast.end() && reading == kReadings.end() && type != "PLTE" && type != "eXIf") return Call::unknown;
  const std::string_view content = take(chunk.length);
  if (least != kLeast.end() && content.size() < least->length)
    refuse_damaged("its chunk " + std::string(type) + " is too short");
  if (reading != kReadings.end()) (this->*reading->second)(content);
  if (type == "PLTE" && state_.colour_type == 3) state_.palette = content;
  if (type == "eXIf") metadata_.exif = "Exif" + std::string(2, '\0') + std::string(content);
  return Call::read;
}

PngChunks::Call PngChunks::call_animation(const Chunk& chunk) {
  if (chunk.type == "fdAT") {
    if (chunk.length < 4) refuse_damaged("its chunk fdAT is too short");
    count_frame(big(take(4), 0));
    return begin_pixels();
  }
  const bool control = chunk.type == "acTL";
  const std::string_view content = take(chunk.length);
  if (content.size() < (control ? 8U : 26U)) refuse_damaged("its chunk " + std::string(chunk.type) + " is too short");
  control ? read_animation(content) : read_frame(content);
  return Call::read;
}

PngChunks::Call PngChunks::begin_pixels() {
  if (!frame_ && frames_) default_picture_ = true;
  pixels_found_ = true;
  return Call::pixels;
}

void PngChunks::read_header(std::string_view content) {
  state_.width = big(content, 0);
  state_.height = big(content, 4);
  const std::uint64_t depth = big(content, 8, 1);
  const std::uint64_t colour = big(content, 9, 1);
  if (is_known_kind(depth, colour)) {
    state_.bit_depth = static_cast<int>(depth);
    state_.colour_type = static_cast<int>(colour);
  }
  if (big(content, 12, 1) != 0) state_.interlaced = true;
  if (big(content, 11, 1) != 0) refuse_damaged("it has a filter that PNG does not know");
}

void PngChunks::read_profile(std::string_view content) {
  const auto zero = content.find('\0');
  const std::size_t method = zero == std::string_view::npos ? 0 : zero + 1;
  if (method >= content.size() || content[method] != 0)
    refuse_damaged("its colour profile is packed in an unknown way");
  unpacked(content.substr(method + 1));
}

void PngChunks::read_transparency(std::string_view content) {
  const std::size_t least = state_.colour_type == 0 ? 2 : state_.colour_type == 2 ? 6 : 0;
  if (content.size() < least) refuse_damaged("its chunk tRNS is too short");
}

/// What stands in a packed text; empty where it is damaged. Pillow gives up on a picture with one that is too long.
std::string PngChunks::unpacked(std::string_view stream) {
  Inflated inflated = inflate_all(stream, kMostText);
  if (inflated.verdict == Inflated::Verdict::too_long) refuse_damaged("one of its texts is longer than a megabyte");
  if (inflated.verdict == Inflated::Verdict::damaged) return {};
  return std::move(inflated.text);
}

void PngChunks::keep_text(std::string_view key, std::string_view text) {
  if (key.empty()) return;
  text_bytes_ += text.size();
  if (text_bytes_ > kMostTexts) refuse_damaged("its texts are longer than 64 megabytes");
  if (key == "exif") metadata_.exif = text;
  if (key == "Raw profile type exif") metadata_.raw_profile = text;
  if ((key == "XML:com.adobe.xmp" || key == "xmp") && !text.empty()) metadata_.xmp = text;
}

void PngChunks::read_text(std::string_view content) {
  const auto parts = split_at_zero(content);
  if (parts) {
    keep_text(parts->first, parts->second);
  } else {
    keep_text(content, {});
  }
}

void PngChunks::read_packed_text(std::string_view content) {
  const auto parts = split_at_zero(content);
  const std::string_view packed = parts ? parts->second : std::string_view();
  if (!packed.empty() && packed[0] != 0) refuse_damaged("one of its texts is packed in an unknown way");
  keep_text(parts ? parts->first : content, unpacked(packed.empty() ? packed : packed.substr(1)));
}

/// Key, 0, packed?, how, language, 0, key in that language, 0, text.
void PngChunks::read_international_text(std::string_view content) {
  const auto key = split_at_zero(content);
  if (!key || key->second.size() < 2) return;
  const bool packed = key->second[0] != 0;
  if (packed && key->second[1] != 0) return;
  const auto language = split_at_zero(key->second.substr(2));
  const auto translated = language ? split_at_zero(language->second) : std::nullopt;
  if (!translated) return;
  keep_text(key->first, packed ? unpacked(translated->second) : std::string(translated->second));
}

void PngChunks::read_animation(std::string_view content) {
  const std::uint64_t frames = big(content, 0);
  if (frames_) {
    frames_.reset();
  } else if (frames != 0 && frames <= kMostFrames) {
    frames_ = frames;
  }
}

void PngChunks::read_frame(std::string_view content) {
  const std::uint64_t number = big(content, 0);
  if (sequence_) {
    count_frame(number);
  } else if (number != 0) {
    refuse_damaged("its animation's frames are out of order");
  }
  sequence_ = number;
  const PngBox box{big(content, 12), big(content, 16), big(content, 4), big(content, 8)};
  if (box.left + box.width > state_.width || box.top + box.height > state_.height) {
    refuse_damaged("its animation's frames reach beyond the picture");
  }
  frame_ = box;
}

void PngChunks::count_frame(std::uint64_t number) {
  if (!sequence_ || *sequence_ + 1 != number) refuse_damaged("its animation's frames are out of order");
  sequence_ = number;
}

}  // namespace nightreel::media

#include "text/charmap.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include "text/unicode.h"

namespace nightreel::text {
namespace {

struct Charmap {
  std::string_view name;
  bool sloppy;
  char32_t high[128];  // bytes 80 to FF
};

#include "text/tables/charmaps.inc"

constexpr std::size_t kWindows1252 = 1;
static_assert(kCharmaps[kWindows1252].name == "sloppy-windows-1252");
constexpr unsigned char kSubstitute = 0x1A;
using Encoder = std::array<std::pair<char32_t, unsigned char>, 128>;

constexpr Encoder make_encoder(const Charmap& map) {
  Encoder encoder{};
  for (std::size_t i = 0; i < encoder.size(); ++i) {
    encoder[i].first = map.high[i];
    encoder[i].second = static_cast<unsigned char>(0x80 + i);
  }
  std::sort(encoder.begin(), encoder.end());
  return encoder;
}

constexpr auto make_encoders() {
  std::array<Encoder, std::size(kCharmaps)> encoders{};
  for (std::size_t i = 0; i < encoders.size(); ++i) encoders[i] = make_encoder(kCharmaps[i]);
  return encoders;
}

constexpr auto kEncoders = make_encoders();

// A byte, or -1.
int encode_character(char32_t c, std::size_t number) {
  const bool sloppy = kCharmaps[number].sloppy;
  if (c < 0x80) return sloppy && c == kSubstitute ? -1 : static_cast<int>(c);
  if (sloppy && c == U'\uFFFD') return kSubstitute;
  const Encoder& encoder = kEncoders.at(number);
  const auto* found = std::lower_bound(encoder.begin(), encoder.end(), c,
                                       [](const auto& pair, char32_t value) { return pair.first < value; });
  return found != encoder.end() && found->first == c ? found->second : -1;
}

unsigned at(std::string_view bytes, std::size_t i) {
  return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0x100U;
}

bool between(unsigned value, unsigned low, unsigned high) {
  return value >= low && value <= high;
}

// Python's $ also matches before a newline at the very end, so ftfy takes that newline for the missing last byte.
bool is_final_newline(std::string_view bytes, std::size_t i) {
  return i + 1 == bytes.size() && bytes[i] == '\n';
}

// A surrogate pair, each half written as three bytes.
std::optional<char32_t> read_cesu8(std::string_view bytes, std::size_t i) {
  if (i + 6 > bytes.size() || !between(at(bytes, i + 1), 0xA0, 0xAF) || !between(at(bytes, i + 2), 0x80, 0xBF) ||
      at(bytes, i + 3) != 0xED || !between(at(bytes, i + 4), 0xB0, 0xBF)) {
    return std::nullopt;
  }
  if (!between(at(bytes, i + 5), 0x80, 0xBF) && !is_final_newline(bytes, i + 5)) return std::nullopt;
  return static_cast<char32_t>(((at(bytes, i + 1) & 0x0FU) << 16U) + ((at(bytes, i + 2) & 0x3FU) << 10U) +
                               ((at(bytes, i + 4) & 0x0FU) << 6U) + (at(bytes, i + 5) & 0x3FU) + 0x10000U);
}

}  // namespace

std::size_t encoding_count() {
  return std::size(kCharmaps);
}

Encoding encoding(std::size_t number) {
  return {number, kCharmaps[number].name, kCharmaps[number].sloppy};
}

std::optional<std::string> encode(std::u32string_view text, std::size_t number) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const int byte = encode_character(c, number);
    if (byte < 0) return std::nullopt;
    out += static_cast<char>(byte);
  }
  return out;
}

std::optional<std::u32string> decode_windows_1252(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const unsigned byte = at(bytes, i);
    if (std::find(std::begin(kWindows1252Holes), std::end(kWindows1252Holes), byte) != std::end(kWindows1252Holes)) {
      return std::nullopt;
    }
    out += byte < 0x80 ? byte : kCharmaps[kWindows1252].high[byte - 0x80];
  }
  return out;
}

char32_t sloppy_windows_1252(char32_t c1_control) {
  return kCharmaps[kWindows1252].high[c1_control - 0x80];
}

std::optional<std::u32string> decode_strict_utf8(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    char32_t c = 0;
    if (!next_character(bytes, i, c)) return std::nullopt;
    out += c;
  }
  return out;
}

std::optional<std::u32string> decode_utf8_variants(std::string_view bytes) {
  std::u32string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    char32_t c = 0;
    if (at(bytes, i) == 0xC0) {
      if (at(bytes, i + 1) != 0x80 && !(i + 1 < bytes.size() && is_final_newline(bytes, i + 1))) return std::nullopt;
      i += 2;
    } else if (at(bytes, i) == 0xED && between(at(bytes, i + 1), 0xA0, 0xBF)) {
      const auto pair = read_cesu8(bytes, i);
      if (!pair) return std::nullopt;
      c = *pair;
      i += 6;
    } else if (!next_character(bytes, i, c)) {
      return std::nullopt;
    }
    out += c;
  }
  return out;
}

}  // namespace nightreel::text

#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace nightreel::text {
namespace {

unsigned byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<unsigned char>(bytes[i]);
}

struct Lead {
  int length;          // 0: cannot begin a character
  unsigned first_low;  // range of the second byte, which keeps out long forms, surrogates and beyond U+10FFFF
  unsigned first_high;
};

Lead lead_of(unsigned byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0) return {3, byte == 0xE0 ? 0xA0U : 0x80U, byte == 0xED ? 0x9FU : 0xBFU};
  if (byte < 0xF5) return {4, byte == 0xF0 ? 0x90U : 0x80U, byte == 0xF4 ? 0x8FU : 0xBFU};
  return {0, 0, 0};
}

struct Mark {
  char32_t character;
  utf8proc_propval_t combining_class;
};

// utf8proc's own decomposition sorts marks by exchanging neighbours: quadratic for a line of nothing but marks.
void append_sorted(std::vector<Mark>& run, std::vector<utf8proc_int32_t>& out) {
  std::stable_sort(run.begin(), run.end(),
                   [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
  for (const auto& mark : run) out.push_back(static_cast<utf8proc_int32_t>(mark.character));
  run.clear();
}

std::vector<utf8proc_int32_t> decompose(std::u32string_view text, utf8proc_option_t options) {
  std::vector<utf8proc_int32_t> out;
  out.reserve(text.size());
  std::vector<Mark> run;
  for (const char32_t c : text) {
    std::array<utf8proc_int32_t, 32> parts{};  // the longest decomposition has 18
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                               static_cast<utf8proc_ssize_t>(parts.size()), options, &boundary);
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      const auto part = parts.at(static_cast<std::size_t>(i));
      const auto combining_class = utf8proc_get_property(part)->combining_class;
      if (combining_class == 0) {
        append_sorted(run, out);
        out.push_back(part);
      } else {
        run.push_back({static_cast<char32_t>(part), combining_class});
      }
    }
  }
  append_sorted(run, out);
  return out;
}

std::u32string normalize(std::u32string_view text, int form) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form);
  auto parts = decompose(text, static_cast<utf8proc_option_t>(options | UTF8PROC_DECOMPOSE));
  const auto length = utf8proc_normalize_utf32(parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
                                               static_cast<utf8proc_option_t>(options | UTF8PROC_COMPOSE));
  return {parts.begin(), parts.begin() + std::max<utf8proc_ssize_t>(length, 0)};
}

}  // namespace

bool next_character(std::string_view bytes, std::size_t& position, char32_t& character) {
  const unsigned first = byte_at(bytes, position++);
  const Lead lead = lead_of(first);
  if (lead.length == 0) return false;
  if (lead.length == 1) {
    character = first;
    return true;
  }
  char32_t value = first & (0x7FU >> lead.length);
  for (int i = 1; i < lead.length; ++i) {
    const unsigned low = i == 1 ? lead.first_low : 0x80U;
    const unsigned high = i == 1 ? lead.first_high : 0xBFU;
    if (position == bytes.size() || byte_at(bytes, position) < low || byte_at(bytes, position) > high) return false;
    value = (value << 6U) | (byte_at(bytes, position++) & 0x3FU);
  }
  character = value;
  return true;
}

std::u32string decode_utf8(std::string_view utf8) {
  std::u32string out;
  out.reserve(utf8.size());
  for (std::size_t i = 0; i < utf8.size();) {
    char32_t c = 0;
    out += next_character(utf8, i, c) ? c : U'\uFFFD';
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0U | (c >> 6U));
    put(0x80U | (c & 0x3FU));
  } else if (c < 0x10000) {
    put(0xE0U | (c >> 12U));
    put(0x80U | ((c >> 6U) & 0x3FU));
    put(0x80U | (c & 0x3FU));
  } else {
    put(0xF0U | (c >> 18U));
    put(0x80U | ((c >> 12U) & 0x3FU));
    put(0x80U | ((c >> 6U) & 0x3FU));
    put(0x80U | (c & 0x3FU));
  }
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

std::u32string normalize_nfc(std::u32string_view text) {
  // Nothing below U+0300 decomposes into or combines with anything else below it.
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x300; })) return std::u32string(text);
  return normalize(text, 0);
}

std::u32string normalize_nfkc(std::u32string_view text) {
  return normalize(text, UTF8PROC_COMPAT);
}

std::vector<std::size_t> grapheme_starts(std::u32string_view text) {
  std::vector<std::size_t> starts;
  utf8proc_int32_t state = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = i == 0 || utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(text[i - 1]),
                                                                   static_cast<utf8proc_int32_t>(text[i]), &state);
    if (begins) starts.push_back(i);
  }
  return starts;
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word_character(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D;
  }
}

}  // namespace nightreel::text

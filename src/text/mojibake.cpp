#include "text/mojibake.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "text/charmap.h"
#include "text/patterns.h"

namespace nightreel::text {
namespace {

constexpr std::string_view kMacRoman = "macroman";
constexpr std::size_t kLatin1 = 0;

bool is_c1_control(char32_t c) {
  return c >= 0x80 && c <= 0x9F;
}

bool starts_with_any(std::string_view bytes, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return bytes.substr(0, word.size()) == word; });
}

// ftfy's A_GRAVE_WORD_RE: a lone C3 before a blank is "à" whose A0 merged with the blank, but for Portuguese "às" etc.
std::string restore_a_grave(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool lone = bytes.substr(i, 2) == "\xC3 ";
    if (lone && !starts_with_any(bytes.substr(i + 2), {" ", "quele", "quela", "quilo", "s "})) {
      out += "\xC3\xA0 ";
      ++i;
    } else {
      out += bytes[i];
    }
  }
  return out;
}

std::string restore_byte_a0(std::string_view original) {
  const std::string bytes = restore_a_grave(original);
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = match_altered_utf8(bytes, i);
    for (std::size_t end = i + std::max<std::size_t>(length, 1); i < end; ++i) {
      out += length > 0 && bytes[i] == ' ' ? '\xA0' : bytes[i];
    }
  }
  return out;
}

bool has_altered_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (match_altered_utf8(bytes, i) > 0) return true;
  }
  return false;
}

std::string replace_lossy_sequences(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    if (const std::size_t length = match_lossy_utf8(bytes, i)) {
      out += "\xEF\xBF\xBD";
      i += length;
    } else {
      out += bytes[i++];
    }
  }
  return out;
}

std::optional<std::u32string> redecode(std::string bytes, const Encoding& as) {
  if (as.name != kMacRoman && has_altered_utf8(bytes)) bytes = restore_byte_a0(bytes);
  if (as.sloppy) bytes = replace_lossy_sequences(bytes);
  const bool variants = bytes.find('\xED') != std::string::npos || bytes.find('\xC0') != std::string::npos;
  return variants ? decode_utf8_variants(bytes) : decode_strict_utf8(bytes);
}

std::u32string decode_inconsistent_utf8(const std::u32string& text) {
  std::u32string out;
  std::size_t done = 0;
  while (done < text.size()) {
    const Match match = find_utf8_mojibake(text, done);
    out.append(text, done, match.begin - done);
    std::u32string part = text.substr(match.begin, match.end - match.begin);
    // A match as long as the text would come back here for ever.
    out += part.size() < text.size() && is_bad(part) ? fix_encoding(std::move(part)) : part;
    done = match.end;
  }
  return out;
}

std::u32string fix_once(const std::u32string& text) {
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; }) || !is_bad(text)) return text;
  bool is_latin1 = false;
  for (std::size_t number = 0; number < encoding_count(); ++number) {
    auto bytes = encode(text, number);
    if (!bytes) continue;
    is_latin1 = is_latin1 || number == kLatin1;
    if (auto fixed = redecode(std::move(*bytes), encoding(number))) return *fixed;
  }
  if (auto fixed = decode_inconsistent_utf8(text); fixed != text) return fixed;
  if (is_latin1) {
    const auto fixed = decode_windows_1252(*encode(text, kLatin1));
    if (fixed && *fixed != text) return *fixed;
  }
  return fix_c1_controls(text);
}

}  // namespace

std::u32string fix_c1_controls(std::u32string text) {
  for (char32_t& c : text) {
    if (is_c1_control(c)) c = sloppy_windows_1252(c);
  }
  return text;
}

std::u32string fix_encoding(std::u32string text) {
  for (int round = 0; round < kMaxRounds; ++round) {
    std::u32string fixed = fix_once(text);
    if (fixed == text) break;
    text = std::move(fixed);
  }
  return text;
}

}  // namespace nightreel::text

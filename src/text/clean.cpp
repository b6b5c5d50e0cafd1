#include "nightreel/text/clean.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "text/entities.h"
#include "text/mojibake.h"
#include "text/patterns.h"
#include "text/unicode.h"

namespace nightreel::text {
namespace {

struct Replacement {
  char32_t from;
  std::u32string_view to;
};
struct CharacterRange {
  char32_t first;
  char32_t last;
};

#include "text/tables/replacements.inc"

constexpr std::size_t kMaxSegment = 1'000'000;  // ftfy's max_decode_length

template <std::size_t N>
std::u32string translate(std::u32string_view text, const Replacement (&table)[N]) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const auto* found = std::lower_bound(std::begin(table), std::end(table), c,
                                         [](const Replacement& r, char32_t value) { return r.from < value; });
    if (found != std::end(table) && found->from == c) {
      out += found->to;
    } else {
      out += c;
    }
  }
  return out;
}

std::u32string uncurl_quotes(std::u32string text) {
  for (char32_t& c : text) {
    if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) c = '\'';
    if (c >= 0x201C && c <= 0x201F) c = '"';
  }
  return text;
}

std::u32string fix_line_breaks(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    out += c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? U'\n' : c;
  }
  return out;
}

// The end of "ESC [ digits and semicolons, letter" at i, or i.
std::size_t terminal_escape_end(std::u32string_view text, std::size_t i) {
  if (text.substr(i, 2) != U"\x1b[") return i;
  std::size_t k = i + 2;
  while (k < text.size() && (text[k] == ';' || is_python_digit(text[k]))) ++k;
  const bool letter = k < text.size() && text[k] < 0x80 && (text[k] | 0x20U) >= 'a' && (text[k] | 0x20U) <= 'z';
  return letter ? k + 1 : i;
}

std::u32string remove_terminal_escapes(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = terminal_escape_end(text, i);
    if (end == i) out += text[i++];
    i = std::max(i, end);
  }
  return out;
}

std::u32string remove_control_characters(std::u32string text) {
  const auto removed = [](char32_t c) {
    return std::any_of(std::begin(kControlRanges), std::end(kControlRanges),
                       [&](const CharacterRange& range) { return c >= range.first && c <= range.last; });
  };
  text.erase(std::remove_if(text.begin(), text.end(), removed), text.end());
  return text;
}

// One round of ftfy.fix_and_explain. Its fix_surrogates has nothing to do: decoded UTF-8 has no surrogates, and no
// fixer makes any.
std::u32string fix_round(std::u32string text, bool unescape) {
  if (unescape) text = unescape_entities(text);
  text = fix_c1_controls(fix_encoding(std::move(text)));
  text = uncurl_quotes(translate(translate(text, kLigatures), kWidths));
  text = remove_control_characters(remove_terminal_escapes(fix_line_breaks(text)));
  return normalize_nfc(text);
}

std::u32string fix_segment(std::u32string text, bool unescape) {
  for (int round = 0; round < kMaxRounds; ++round) {
    std::u32string fixed = fix_round(text, unescape);
    if (fixed == text) break;
    text = std::move(fixed);
  }
  return text;
}

// ftfy.fix_text: line by line. Once a line has a "<", it and all after it are taken for HTML and keep their entities.
std::u32string fix_text(const std::u32string& text) {
  std::u32string out;
  bool unescape = true;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t newline = text.find('\n', begin);
    const std::size_t line = (newline == std::u32string::npos ? text.size() : newline + 1) - begin;
    std::u32string segment = text.substr(begin, std::min(line, kMaxSegment));
    begin += segment.size();
    unescape = unescape && segment.find('<') == std::u32string::npos;
    out += fix_segment(std::move(segment), unescape);
  }
  return out;
}

std::u32string collapse_white_space(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (!is_python_space(c)) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string clean_prompt(std::string_view utf8) {
  const std::u32string fixed = fix_text(decode_utf8(utf8));
  return encode_utf8(collapse_white_space(html_unescape(html_unescape(fixed))));
}

}  // namespace nightreel::text

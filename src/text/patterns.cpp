#include "text/patterns.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

namespace nightreel::text {
namespace {

struct Sequence {
  bool anchored;  // only at the text's start
  unsigned char length;
  unsigned char sets[7];
};

// Two characters are in the same class if every set holds both or neither.
struct ClassRange {
  char32_t first;
  char32_t last;
  unsigned char character_class;
};

#include "text/tables/text_patterns.inc"

#include "text/tables/byte_patterns.inc"

unsigned class_of(char32_t c) {
  const auto* range = std::upper_bound(std::begin(kClassRanges), std::end(kClassRanges), c,
                                       [](char32_t value, const ClassRange& r) { return value < r.first; });
  return std::prev(range)->character_class;
}

bool class_in_set(unsigned character_class, unsigned set) {
  return (kSets[set][character_class / 64] >> (character_class % 64) & 1U) != 0;
}

bool in_set(char32_t c, unsigned set) {
  return class_in_set(class_of(c), set);
}

bool byte_in_set(char c, unsigned set) {
  const auto byte = static_cast<unsigned char>(c);
  return (kByteSets[set][byte / 64] >> (byte % 64) & 1U) != 0;
}

bool matches_at(const std::vector<unsigned char>& classes, std::size_t i, const Sequence& sequence) {
  if (sequence.length > classes.size() - i || (sequence.anchored && i != 0)) return false;
  for (unsigned k = 0; k < sequence.length; ++k) {
    if (!class_in_set(classes[i + k], sequence.sets[k])) return false;
  }
  return true;
}

template <std::size_t N>
std::size_t match_bytes(const Sequence (&table)[N], std::string_view bytes, std::size_t i) {
  for (const auto& sequence : table) {
    if (sequence.length > bytes.size() - i) continue;
    unsigned k = 0;
    while (k < sequence.length && byte_in_set(bytes[i + k], sequence.sets[k])) ++k;
    if (k == sequence.length) return k;
  }
  return 0;
}

// One UTF-8 sequence of the detector at i: its length, or 0.
std::size_t match_clue(std::u32string_view text, std::size_t i) {
  constexpr int kLeads[] = {kFirstOf2, kFirstOf3, kFirstOf4};
  for (std::size_t more = 1; more <= 3; ++more) {
    if (i + more >= text.size() || !in_set(text[i], static_cast<unsigned>(kLeads[more - 1]))) continue;
    std::size_t k = 1;
    while (k <= more && in_set(text[i + k], kContinuation)) ++k;
    if (k > more) return k;
  }
  return 0;
}

}  // namespace

bool is_bad(std::u32string_view text) {
  std::vector<unsigned char> classes(text.size());
  std::transform(text.begin(), text.end(), classes.begin(),
                 [](char32_t c) { return static_cast<unsigned char>(class_of(c)); });
  for (std::size_t i = 0; i < classes.size(); ++i) {
    for (const auto& sequence : kBadness) {
      if (matches_at(classes, i, sequence)) return true;
    }
  }
  return false;
}

Match find_utf8_mojibake(std::u32string_view text, std::size_t from) {
  for (std::size_t i = from; i < text.size(); ++i) {
    if (i > 0 && in_set(text[i - 1], kContinuationStrict)) continue;
    std::size_t end = i;
    while (const std::size_t length = end < text.size() ? match_clue(text, end) : 0) end += length;
    if (end > i) return {i, end};
  }
  return {text.size(), text.size()};
}

std::size_t match_altered_utf8(std::string_view bytes, std::size_t position) {
  return match_bytes(kAlteredUtf8, bytes, position);
}

std::size_t match_lossy_utf8(std::string_view bytes, std::size_t position) {
  return match_bytes(kLossyUtf8, bytes, position);
}

bool is_python_space(char32_t c) {
  return in_set(c, kSpace);
}
bool is_python_digit(char32_t c) {
  return in_set(c, kDigit);
}

}  // namespace nightreel::text

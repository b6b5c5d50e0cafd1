#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace nightreel::text {
namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

// Where the character that ends at `end` begins.
std::size_t previous(std::string_view text, std::size_t end) {
  do --end;
  while (end > 0 && is_continuation(text[end]));
  return end;
}

char32_t character_at(std::string_view text, std::size_t position) {
  char32_t c = 0;
  return next_character(text, position, c) ? c : U'\uFFFD';
}

bool is_whole_word(std::string_view text, std::size_t begin, std::size_t end) {
  const bool joined_before = begin > 0 && is_word_character(character_at(text, previous(text, begin)));
  const bool joined_after = end < text.size() && is_word_character(character_at(text, end));
  return !joined_before && !joined_after;
}

std::size_t strip_left(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit && is_white_space(character_at(text, previous(text, begin)))) begin = previous(text, begin);
  return std::max(begin, limit);
}

std::size_t strip_right(std::string_view text, std::size_t end) {
  while (end < text.size() && is_white_space(character_at(text, end))) {
    char32_t c = 0;
    next_character(text, end, c);
  }
  return end;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalize& normalize) : tokens_(std::move(tokens)) {
  std::vector<PrefixIndex::Entry> as_given;
  std::vector<PrefixIndex::Entry> normalized;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto number = static_cast<std::uint32_t>(i);
    if (tokens_[i].normalized) {
      normalized.push_back({normalize(tokens_[i].content), number});
    } else {
      as_given.push_back({tokens_[i].content, number});
    }
  }
  as_given_ = PrefixIndex(std::move(as_given));
  normalized_ = PrefixIndex(std::move(normalized));
}

void AddedTokens::append_split(std::string_view text, const PrefixIndex& index, bool at_start,
                               std::vector<Segment>& out) const {
  std::size_t done = 0;
  const auto flush = [&](std::size_t to) {
    if (done < to) out.push_back({std::string(text.substr(done, to - done)), -1, at_start && done == 0});
  };
  for (std::size_t i = 0; i < text.size();) {
    std::size_t length = 0;
    std::uint32_t number = 0;
    index.for_each_prefix(text.substr(i), [&](std::size_t l, std::uint32_t n) {
      length = l;
      number = n;
    });
    const std::size_t begin = i;
    i += std::max<std::size_t>(length, 1);
    if (length == 0) continue;
    const AddedToken& token = tokens_[number];
    if (token.single_word && !is_whole_word(text, begin, i)) continue;
    flush(token.lstrip ? strip_left(text, begin, std::min(done, begin)) : begin);
    out.push_back({{}, token.id, false});
    done = token.rstrip ? strip_right(text, i) : i;
  }
  flush(text.size());
}

std::vector<Segment> AddedTokens::split(std::string_view text, const Normalize& normalize) const {
  std::vector<Segment> first;
  append_split(text, as_given_, true, first);
  std::vector<Segment> out;
  for (auto& segment : first) {
    if (segment.id >= 0) {
      out.push_back(std::move(segment));
    } else {
      append_split(normalize(std::move(segment.text)), normalized_, segment.at_start, out);
    }
  }
  return out;
}

}  // namespace nightreel::text

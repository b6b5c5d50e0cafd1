#include "text/segments.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace nightreel::text {
namespace {

struct Word {
  std::string text;
  bool at_start;
};

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (!pattern.empty() && text.substr(i, pattern.size()) == pattern) {
      out += content;
      i += pattern.size();
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::string replace_blank_runs(std::string_view text, std::string_view content) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = std::min(text.find_first_not_of(' ', i), text.size());
    if (end - i >= 2) {
      out += content;
      i = end;
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::string strip(std::string_view utf8, const Strip& sides) {
  const std::u32string text = decode_utf8(utf8);
  auto begin = text.begin();
  auto end = text.end();
  while (sides.left && begin != end && is_white_space(*begin)) ++begin;
  while (sides.right && begin != end && is_white_space(*(end - 1))) --end;
  return encode_utf8(std::u32string(begin, end));
}

struct Normalizing {
  std::string text;
  std::string operator()(const std::shared_ptr<const Charsmap>& charsmap) const { return charsmap->normalize(text); }
  std::string operator()(const Nfkc&) const { return encode_utf8(normalize_nfkc(decode_utf8(text))); }
  std::string operator()(const Strip& step) const { return strip(text, step); }
  std::string operator()(const Replace& step) const {
    return step.runs ? replace_blank_runs(text, step.content) : replace_all(text, step.pattern, step.content);
  }
};

struct Splitting {
  const Word& word;
  std::vector<Word>& out;

  void operator()(const WhitespaceSplit&) const {
    std::string part;
    bool at_start = word.at_start;
    for (const char32_t c : decode_utf8(word.text)) {
      if (!is_white_space(c)) {
        append_utf8(part, c);
        continue;
      }
      if (!part.empty()) out.push_back({std::exchange(part, {}), at_start});
      at_start = false;
    }
    if (!part.empty()) out.push_back({part, at_start});
  }

  void operator()(const Metaspace& step) const {
    std::string text = replace_all(word.text, " ", step.replacement);
    const bool wanted =
        step.prepend == Metaspace::Prepend::always || (step.prepend == Metaspace::Prepend::first && word.at_start);
    if (wanted && text.rfind(step.replacement, 0) != 0) text.insert(0, step.replacement);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t next = step.split ? text.find(step.replacement, begin + 1) : std::string::npos;
      const std::size_t end = std::min(next, text.size());
      out.push_back({text.substr(begin, end - begin), word.at_start && begin == 0});
      begin = end;
    }
  }
};

}  // namespace

std::string normalize(const std::vector<NormalizerStep>& steps, std::string text) {
  for (const auto& step : steps) text = std::visit(Normalizing{std::move(text)}, step);
  return text;
}

std::vector<std::string> words_of(const std::vector<PreTokenizerStep>& steps, std::string segment, bool at_start) {
  std::vector<Word> words{{std::move(segment), at_start}};
  for (const auto& step : steps) {
    std::vector<Word> next;
    for (const auto& word : words) std::visit(Splitting{word, next}, step);
    words = std::move(next);
  }
  std::vector<std::string> out;
  for (auto& word : words) {
    if (!word.text.empty()) out.push_back(std::move(word.text));
  }
  return out;
}

}  // namespace nightreel::text

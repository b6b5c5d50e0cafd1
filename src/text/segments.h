// The steps between a text and the words that the Unigram model cuts up, as Hugging Face tokenizers names them.
// Immutable; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/charsmap.h"

namespace nightreel::text {

struct Nfkc {};
struct Strip {
  bool left;
  bool right;
};
/// Every occurrence of `pattern`; or, with `runs` of at least two blanks, each run.
struct Replace {
  bool runs;
  std::string pattern;
  std::string content;
};
using NormalizerStep = std::variant<std::shared_ptr<const Charsmap>, Nfkc, Strip, Replace>;

std::string normalize(const std::vector<NormalizerStep>& steps, std::string text);

struct WhitespaceSplit {};
/// Blanks become `replacement`, which is also put in front, and each begins a new word.
struct Metaspace {
  enum class Prepend { always, first, never };
  std::string replacement = "\xE2\x96\x81";  // U+2581
  Prepend prepend = Prepend::always;
  bool split = true;
};
using PreTokenizerStep = std::variant<WhitespaceSplit, Metaspace>;

/// `at_start`: the segment begins where the whole text does. No word is empty.
std::vector<std::string> words_of(const std::vector<PreTokenizerStep>& steps, std::string segment, bool at_start);

}  // namespace nightreel::text

// Tokens that are found in a text as they are written, before the model sees it: "</s>", "<pad>", "<extra_id_0>".
//
// As Hugging Face tokenizers does it (tokenizer/added_vocabulary.rs): leftmost, longest, tokens with normalized=false
// in the text as given, the others in the normalised text between those. Immutable; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/prefix_index.h"

namespace nightreel::text {

struct AddedToken {
  std::string content;
  std::int64_t id = 0;
  bool single_word = false;  // not inside a word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and after it
  bool normalized = false;
};

/// A stretch of text, or one added token.
struct Segment {
  std::string text;
  std::int64_t id = -1;   // of the added token; -1: text
  bool at_start = false;  // the text begins with it
};

using Normalize = std::function<std::string(std::string)>;

class AddedTokens {
 public:
  AddedTokens() = default;
  AddedTokens(std::vector<AddedToken> tokens, const Normalize& normalize);

  /// Text segments come out normalised and are never empty.
  std::vector<Segment> split(std::string_view text, const Normalize& normalize) const;

 private:
  void append_split(std::string_view text, const PrefixIndex& index, bool at_start, std::vector<Segment>& out) const;

  std::vector<AddedToken> tokens_;
  PrefixIndex as_given_;
  PrefixIndex normalized_;
};

}  // namespace nightreel::text

// Tokens of a prompt, as transformers' T5Tokenizer (the class that Wan checkpoints name) makes them.
//
// Reads a tokenizer folder: spiece.model, or where that is absent tokenizer.json alone. A Tokenizer owns its
// vocabulary (a few times the file's size), does not change after it was loaded, and may be used by any thread.
// Everything about the files that cannot be used is an Error{model} that names the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::text {

class Tokenizer {
 public:
  /// `folder` holds spiece.model (with tokenizer_config.json, special_tokens_map.json and added_tokens.json where they
  /// exist) or tokenizer.json. From spiece.model the tokens are those of transformers 5.23's T5Tokenizer, which takes
  /// only vocabulary and normalisation from that file: a Unigram model without byte fallback whose unknown token is
  /// number 2. From tokenizer.json they are what the file itself describes.
  static Tokenizer load(const std::string& folder);

  /// Token ids, the end token included, no padding. A longer text keeps its first tokens and its end token, so that
  /// there are at most `max_length`. Special tokens that are written out in the text ("</s>", "<pad>",
  /// "<extra_id_0>") become their ids, as transformers does. Bytes that are not UTF-8 count as U+FFFD.
  /// Throws Error{usage} if max_length is smaller than the number of end tokens.
  std::vector<std::int64_t> encode(std::string_view text, std::size_t max_length = 512) const;

  /// Number of ids: one more than the largest.
  std::size_t size() const;

 private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts);
  std::shared_ptr<const Parts> parts_;
};

}  // namespace nightreel::text

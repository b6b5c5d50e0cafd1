// What a tokenizer is made of, and its two readers. Immutable once read; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/segments.h"
#include "text/unigram.h"

namespace nightreel::text {

struct TokenizerParts {
  std::string path;  // of the file they were read from, for messages
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  Unigram model;
  AddedTokens added;
  std::int64_t size = 0;             // one more than the largest id
  std::vector<std::int64_t> prefix;  // special tokens in front of every text
  std::vector<std::int64_t> suffix;  // and behind it
};

/// transformers 5.23's T5Tokenizer over FOLDER/spiece.model and FOLDER/tokenizer_config.json (which may be missing).
/// Throws Error{model}.
TokenizerParts read_t5(const std::string& folder);

/// A tokenizer.json as Hugging Face tokenizers writes it. Throws Error{model}, also for a part of an unknown type,
/// which it names.
TokenizerParts read_tokenizer_json(const std::string& path);

}  // namespace nightreel::text

// The Unigram model: the most probable way to cut a word into pieces. Immutable; any thread.
//
// Kudo, "Subword Regularization", 2018, section 3.2, found by Viterbi; ties, unknown characters and rounding (double)
// as in Hugging Face tokenizers (models/unigram/model.rs, encode_optimized), which differ from SentencePiece's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/prefix_index.h"

namespace nightreel::text {

struct Piece {
  std::string text;
  double score;  // log-probability
};

class Unigram {
 public:
  /// `unknown` is the id that characters outside the vocabulary get; it must be below pieces.size(). Without one the
  /// model cannot encode them. With `byte_fallback` they become the pieces <0x00> to <0xFF> where all are there.
  Unigram(const std::vector<Piece>& pieces, std::optional<std::uint32_t> unknown, bool byte_fallback);

  /// Appends the ids of `word`, which must be UTF-8. Throws Error{model} for an unknown character where there is no
  /// unknown token.
  void encode(std::string_view word, std::vector<std::int64_t>& ids) const;

  std::int64_t find(std::string_view piece) const { return index_.find(piece); }
  std::size_t size() const { return scores_.size(); }

 private:
  struct Best;
  std::vector<Best> best_path(std::string_view word) const;
  void append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const;
  bool append_bytes(std::string_view piece, std::vector<std::int64_t>& ids) const;

  PrefixIndex index_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::optional<std::uint32_t> unknown_;
  bool byte_fallback_;
};

}  // namespace nightreel::text

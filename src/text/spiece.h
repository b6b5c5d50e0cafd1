// SentencePiece's model file: the few fields of the protocol buffer that a T5 tokenizer uses.
//
// A reader of our own, because the library does not give out the normalisation table, and because transformers does
// not encode with the library: its ties, its rounding and its treatment of combining marks differ.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/unigram.h"

namespace nightreel::text {

/// sentencepiece_model.proto (SentencePiece 0.1.97), ModelProto.
struct SpieceModel {
  enum class Type { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  std::vector<Piece> pieces;
  std::vector<Type> types;  // of the pieces
  std::string charsmap;     // normalizer_spec.precompiled_charsmap; empty: no normalisation
};

/// Throws Error{model} that says what is wrong, without the file's name.
SpieceModel parse_spiece(std::string_view bytes);

}  // namespace nightreel::text

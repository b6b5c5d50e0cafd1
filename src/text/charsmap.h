// SentencePiece's precompiled normalisation: a double-array trie of characters and what replaces them.
//
// Layout: uint32 size of the trie in bytes, the trie (darts-clone: 32-bit units), then replacements, each ended by a
// zero byte; all little-endian. Immutable; any thread. Every offset in the file is checked when it is followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::text {

class Charsmap {
 public:
  /// Throws Error{model} saying what is wrong with the bytes; the caller puts the file's name in front.
  explicit Charsmap(std::string_view bytes);

  /// As Hugging Face tokenizers applies it (normalizers/precompiled.rs): by grapheme clusters of fewer than six bytes,
  /// else by characters, and a cluster is replaced whole by what stands for its shortest known beginning.
  /// SentencePiece itself takes the longest one.
  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view key) const;
  std::uint32_t unit(std::size_t index) const;

  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

}  // namespace nightreel::text

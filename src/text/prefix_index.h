// All entries of a word list that a text begins with at a place. Immutable; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::text {

/// The sorted words themselves: each further byte narrows the range of words that begin alike. Owns its words.
class PrefixIndex {
 public:
  struct Entry {
    std::string word;
    std::uint32_t value;
  };

  PrefixIndex() : PrefixIndex(std::vector<Entry>{}) {}
  /// Of equal words the last one counts. Empty words are left out.
  explicit PrefixIndex(std::vector<Entry> entries);

  /// Calls visit(length, value) for every word that `text` begins with, shortest first.
  template <typename Visit>
  void for_each_prefix(std::string_view text, Visit visit) const {
    if (text.empty()) return;
    std::size_t low = first_[byte_at(text, 0)];
    std::size_t high = first_[byte_at(text, 0) + 1];
    for (std::size_t depth = 1; low < high; ++depth) {
      // Words of this very length come first among those that begin alike.
      if (entries_[low].word.size() == depth) visit(depth, entries_[low++].value);
      if (depth == text.size()) return;
      narrow(low, high, depth, byte_at(text, depth));
    }
  }

  /// Its value, or -1.
  std::int64_t find(std::string_view word) const;

 private:
  static unsigned byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }
  void narrow(std::size_t& low, std::size_t& high, std::size_t depth, unsigned byte) const;

  std::vector<Entry> entries_;
  std::vector<std::size_t> first_;  // where the words with each first byte begin; 257 numbers
};

}  // namespace nightreel::text

#include "text/prefix_index.h"

#include <algorithm>

namespace nightreel::text {

PrefixIndex::PrefixIndex(std::vector<Entry> entries) : entries_(std::move(entries)), first_(257) {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return std::string_view(a.word) < std::string_view(b.word); });
  const auto replaced = [&](const Entry& entry) {
    const auto* next = &entry + 1;
    return entry.word.empty() || (next != entries_.data() + entries_.size() && next->word == entry.word);
  };
  std::vector<Entry> kept;
  kept.reserve(entries_.size());
  for (auto& entry : entries_) {
    if (!replaced(entry)) kept.push_back(entry);
  }
  entries_ = std::move(kept);
  std::size_t i = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    while (i < entries_.size() && byte_at(entries_[i].word, 0) < byte) ++i;
    first_[byte] = i;
  }
  first_[256] = entries_.size();
}

void PrefixIndex::narrow(std::size_t& low, std::size_t& high, std::size_t depth, unsigned byte) const {
  const auto begin = entries_.begin();
  const auto at = [](std::size_t i) { return static_cast<std::ptrdiff_t>(i); };
  const auto less = [&](const Entry& entry, unsigned value) { return byte_at(entry.word, depth) < value; };
  const auto from = std::lower_bound(begin + at(low), begin + at(high), byte, less);
  const auto to = std::lower_bound(from, begin + at(high), byte + 1, less);
  low = static_cast<std::size_t>(from - begin);
  high = static_cast<std::size_t>(to - begin);
}

std::int64_t PrefixIndex::find(std::string_view word) const {
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), word,
                                      [](const Entry& entry, std::string_view w) { return entry.word < w; });
  return found != entries_.end() && found->word == word ? std::int64_t{found->value} : -1;
}

}  // namespace nightreel::text

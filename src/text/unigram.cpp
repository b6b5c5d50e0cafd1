#include "text/unigram.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>

#include "nightreel/base/error.h"

namespace nightreel::text {
namespace {

constexpr double kUnknownPenalty = 10.0;
constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();

std::vector<PrefixIndex::Entry> entries_of(const std::vector<Piece>& pieces) {
  std::vector<PrefixIndex::Entry> entries;
  entries.reserve(pieces.size());
  for (const auto& piece : pieces) entries.push_back({piece.text, static_cast<std::uint32_t>(entries.size())});
  return entries;
}

std::size_t character_length(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

// The best path that ends at a byte of the word.
struct Unigram::Best {
  double score = 0;
  std::size_t begin = kNowhere;  // of the path's last piece
  std::int64_t id = 0;

  void offer(double candidate, std::size_t from, std::int64_t piece) {
    if (begin != kNowhere && candidate <= score) return;
    score = candidate;
    begin = from;
    id = piece;
  }
};

Unigram::Unigram(const std::vector<Piece>& pieces, std::optional<std::uint32_t> unknown, bool byte_fallback)
    : index_(entries_of(pieces)), unknown_(unknown), byte_fallback_(byte_fallback) {
  double lowest = std::numeric_limits<double>::infinity();
  for (const auto& piece : pieces) {
    scores_.push_back(piece.score);
    lowest = std::min(lowest, piece.score);
  }
  unknown_score_ = lowest - kUnknownPenalty;
}

std::vector<Unigram::Best> Unigram::best_path(std::string_view word) const {
  std::vector<Best> ends(word.size() + 1);
  for (std::size_t i = 0; i < word.size();) {
    const double here = ends[i].score;
    const std::size_t one = std::min(character_length(word[i]), word.size() - i);
    bool known = false;
    index_.for_each_prefix(word.substr(i), [&](std::size_t length, std::uint32_t id) {
      ends[i + length].offer(scores_[id] + here, i, id);
      known = known || length == one;
    });
    if (!known) {
      if (!unknown_)
        throw base::Error(base::ErrorKind::model, "the vocabulary has no unknown token, the text needs it");
      ends[i + one].offer(unknown_score_ + here, i, *unknown_);
    }
    i += one;
  }
  return ends;
}

bool Unigram::append_bytes(std::string_view piece, std::vector<std::int64_t>& ids) const {
  std::vector<std::int64_t> bytes;
  for (const char c : piece) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", static_cast<unsigned char>(c));
    bytes.push_back(find(name.data()));
    if (bytes.back() < 0) return false;
  }
  ids.insert(ids.end(), bytes.begin(), bytes.end());
  return true;
}

void Unigram::append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const {
  const std::int64_t id = find(piece);
  if (id >= 0) {
    ids.push_back(id);
  } else if (!byte_fallback_ || !append_bytes(piece, ids)) {
    ids.push_back(*unknown_);  // best_path would have thrown without one
  }
}

void Unigram::encode(std::string_view word, std::vector<std::int64_t>& ids) const {
  const std::vector<Best> ends = best_path(word);
  std::vector<std::string_view> pieces;  // last first
  bool last_unknown = false;
  for (std::size_t end = word.size(); end > 0; end = ends[end].begin) {
    const Best& best = ends[end];
    const bool unknown = unknown_ && best.id == *unknown_;
    // Neighbouring unknown characters are one piece.
    const std::size_t joined = unknown && last_unknown ? pieces.back().size() : 0;
    if (joined > 0) pieces.pop_back();
    pieces.push_back(word.substr(best.begin, end - best.begin + joined));
    last_unknown = unknown;
  }
  std::for_each(pieces.rbegin(), pieces.rend(), [&](std::string_view piece) { append_piece(piece, ids); });
}

}  // namespace nightreel::text

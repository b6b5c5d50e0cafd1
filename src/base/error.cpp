#include "nightreel/base/error.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>

namespace nightreel::base {
namespace {

// In the order of ErrorKind. Exit codes: CONTRACT (docs/exit-codes.md): 1 the work failed, 2 usage, 3 environment or
// model, 4 internal, 75 stopped early.
constexpr std::array<ErrorTraits, 14> kTraits{{
    {"usage", false, 2},
    {"job", false, 1},
    {"model", false, 3},
    {"environment", false, 3},
    {"queue", true, 3},
    {"storage", true, 3},
    {"renderer", true, 1},
    {"device", true, 3},
    {"device_memory", true, 3},
    {"host_memory", true, 3},
    {"numeric", true, 1},
    {"comm", true, 3},
    {"interrupted", true, 75},
    {"internal", true, 4},
}};

constexpr std::size_t kLongestWord = 200;  // bytes: nobody mistypes a longer one

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

const ErrorTraits& traits(ErrorKind kind) {
  return kTraits.at(static_cast<std::size_t>(kind));
}

ErrorKind error_kind(std::string_view name) {
  const auto* found = std::find_if(kTraits.begin(), kTraits.end(), [&](const auto& t) { return t.name == name; });
  return found == kTraits.end() ? ErrorKind::internal : static_cast<ErrorKind>(found - kTraits.begin());
}

Error Error::of_lines(ErrorKind kind, const std::string& lines) {
  std::string text;
  for (std::size_t at = 0; at <= lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    if (at > 0) text += '\n';
    text += printable(std::string_view(lines).substr(at, end - at), std::string::npos);
    at = end + 1;
  }
  return Error(kind, text, Lines());
}

void throw_errno(const std::string& what, const std::string& path) {
  throw Error(ErrorKind::storage, what + " " + path + ": " + std::strerror(errno));
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  const bool cut = text.size() > limit;
  if (cut) {
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0U) == 0x80U) --limit;
    text = text.substr(0, limit);
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c < 0x20 || c == 0x7F || c1) {
      constexpr const char* kHex = "0123456789abcdef";
      out += {'\\', 'x', kHex[c >> 4U], kHex[c & 15U]};
      if (c1) {
        const auto second = static_cast<unsigned char>(text[++i]);
        out += {'\\', 'x', kHex[second >> 4U], kHex[second & 15U]};
      }
    } else {
      out += static_cast<char>(c);
    }
  }
  return cut ? out + "…" : out;
}

// Two words are at least as far apart as they differ in length, so that a long one costs nothing.
std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : known) {
    const std::size_t apart = std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size());
    if (word.size() > kLongestWord || apart >= best_distance) continue;
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace nightreel::base

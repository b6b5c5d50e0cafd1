#include "text/charsmap.h"

#include "nightreel/base/error.h"
#include "text/unicode.h"

namespace nightreel::text {
namespace {

constexpr std::size_t kUnitBytes = 4;
constexpr std::size_t kMaxCluster = 6;  // bytes; clusters from here on are taken character by character

[[noreturn]] void fail_charsmap(const std::string& what) {
  throw base::Error(base::ErrorKind::model, "precompiled_charsmap: " + what);
}

std::uint32_t read_u32(std::string_view bytes, std::size_t i) {
  std::uint32_t value = 0;
  for (std::size_t k = kUnitBytes; k-- > 0;) value = (value << 8U) | static_cast<unsigned char>(bytes[i + k]);
  return value;
}

// The fields of a unit: darts.h of darts-clone, DoubleArrayUnit.
bool has_leaf(std::uint32_t unit) {
  return (unit >> 8U & 1U) != 0;
}
std::uint32_t value_of(std::uint32_t unit) {
  return unit & 0x7FFFFFFFU;
}
std::uint32_t label_of(std::uint32_t unit) {
  return unit & 0x800000FFU;
}
std::size_t offset_of(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10U) << ((unit & 0x200U) >> 6U);
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  if (bytes.size() < kUnitBytes) fail_charsmap("shorter than its header");
  const std::size_t size = read_u32(bytes, 0);
  if (size == 0 || size % kUnitBytes != 0 || size > bytes.size() - kUnitBytes) {
    fail_charsmap("a trie of " + std::to_string(size) + " bytes in " + std::to_string(bytes.size()));
  }
  for (std::size_t i = 0; i < size; i += kUnitBytes) trie_.push_back(read_u32(bytes, kUnitBytes + i));
  replacements_ = bytes.substr(kUnitBytes + size);
  std::size_t position = 0;
  for (char32_t c = 0; position < replacements_.size();) {
    if (!next_character(replacements_, position, c)) fail_charsmap("a replacement is not UTF-8");
  }
}

std::uint32_t Charsmap::unit(std::size_t index) const {
  if (index >= trie_.size()) fail_charsmap("an offset leads out of the trie");
  return trie_[index];
}

std::optional<std::string_view> Charsmap::replacement(std::string_view key) const {
  std::size_t node = offset_of(unit(0));
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    node ^= byte;
    const std::uint32_t here = unit(node);
    if (label_of(here) != byte) break;
    node ^= offset_of(here);
    if (!has_leaf(here)) continue;
    const std::size_t begin = value_of(unit(node));
    if (begin > replacements_.size()) fail_charsmap("a value leads out of the replacements");
    const std::string_view rest = std::string_view(replacements_).substr(begin);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

std::string Charsmap::normalize(std::string_view text) const {
  const std::u32string characters = decode_utf8(text);
  std::vector<std::size_t> starts = grapheme_starts(characters);
  starts.push_back(characters.size());
  std::string out;
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const auto cluster = std::u32string_view(characters).substr(starts[i], starts[i + 1] - starts[i]);
    const std::string utf8 = cluster.size() < kMaxCluster ? encode_utf8(cluster) : std::string{};
    const bool is_short = !utf8.empty() && utf8.size() < kMaxCluster;
    if (const auto whole = is_short ? replacement(utf8) : std::nullopt) {
      out += *whole;
      continue;
    }
    for (const char32_t c : cluster) {
      std::string one;
      append_utf8(one, c);
      out += replacement(one).value_or(one);
    }
  }
  return out;
}

}  // namespace nightreel::text

#include "text/entities.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "text/unicode.h"

namespace nightreel::text {
namespace {

struct Entity {
  std::string_view name;  // without the ampersand
  std::string_view characters;
};
struct CharacterPair {
  char32_t from;
  char32_t to;
};

#include "text/tables/entities.inc"

constexpr std::size_t kLongestHtmlName = 32;
constexpr std::size_t kLongestFtfyName = 24;

template <std::size_t N>
std::optional<std::u32string> find_entity(const Entity (&table)[N], std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(table), std::end(table), name,
                       [](const Entity& entity, std::string_view value) { return entity.name < value; });
  if (found == std::end(table) || found->name != name) return std::nullopt;
  return decode_utf8(found->characters);
}

bool is_ascii_digit(char32_t c) {
  return c >= '0' && c <= '9';
}
bool is_ascii_letter(char32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int hex_digit(char32_t c) {
  if (is_ascii_digit(c)) return static_cast<int>(c - '0');
  const char32_t lower = c | 0x20U;
  return c < 0x80 && lower >= 'a' && lower <= 'f' ? static_cast<int>(lower - 'a') + 10 : -1;
}

std::u32string character_of(char32_t number) {
  const auto* replaced = std::find_if(std::begin(kReplacedReferences), std::end(kReplacedReferences),
                                      [&](const CharacterPair& pair) { return pair.from == number; });
  if (replaced != std::end(kReplacedReferences)) return {replaced->to};
  if ((number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF) return U"\uFFFD";
  if (std::binary_search(std::begin(kRemovedReferences), std::end(kRemovedReferences), number)) return {};
  return {number};
}

// The reference that `text` begins with, behind the ampersand: what it stands for, and how long it is (0: none).
struct Reference {
  std::u32string characters;
  std::size_t length = 0;
};

// "#1234;" or "#x12ab;", the semicolon optional.
Reference read_number(std::u32string_view text) {
  const bool hex = text.size() > 1 && (text[1] | 0x20U) == 'x';
  const std::size_t begin = hex ? 2 : 1;
  const auto digit = [&](char32_t c) {
    return hex ? hex_digit(c) : is_ascii_digit(c) ? static_cast<int>(c - '0') : -1;
  };
  std::size_t i = begin;
  char32_t value = 0;
  for (; i < text.size() && digit(text[i]) >= 0; ++i) {
    value = std::min<char32_t>(value * (hex ? 16 : 10) + static_cast<char32_t>(digit(text[i])), 0x110000);
  }
  if (i == begin) return {};
  if (i < text.size() && text[i] == ';') ++i;
  return {character_of(value), i};
}

bool ends_name(char32_t c) {
  return c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' || c == ';';
}

Reference read_name(std::u32string_view text) {
  std::size_t length = 0;
  while (length < std::min(text.size(), kLongestHtmlName) && !ends_name(text[length])) ++length;
  if (length == 0) return {};
  if (length < text.size() && text[length] == ';') ++length;
  const std::u32string_view all = text.substr(0, length);
  // The whole name, or its longest known beginning of at least two characters.
  for (std::size_t known = length; known >= (known == length ? 1 : 2); --known) {
    if (auto found = find_entity(kHtml5, encode_utf8(all.substr(0, known)))) return {*found, known};
  }
  return {};
}

Reference read_reference(std::u32string_view text) {
  if (text.empty()) return {};
  return text[0] == '#' ? read_number(text) : read_name(text);
}

// ftfy's HTML_ENTITY_RE behind the ampersand: #?[0-9A-Za-z]{1,24};
std::size_t match_ftfy_entity(std::u32string_view text) {
  const std::size_t begin = !text.empty() && text[0] == '#' ? 1 : 0;
  std::size_t i = begin;
  while (i < text.size() && i - begin < kLongestFtfyName && (is_ascii_digit(text[i]) || is_ascii_letter(text[i]))) ++i;
  return i > begin && i < text.size() && text[i] == ';' ? i + 1 : 0;
}

// What ftfy makes of one matched entity; nothing if it leaves it alone.
std::optional<std::u32string> ftfy_entity(std::u32string_view name) {
  if (name[0] != '#') {
    const std::string utf8 = encode_utf8(name);
    auto found = find_entity(kHtml5, utf8);
    return found ? found : find_entity(kUpperCase, utf8);
  }
  Reference number = read_number(name);
  // Where only a part was a number, or the number is that of the semicolon, the text stays.
  if (number.length != name.size() || number.characters == U";") return std::nullopt;
  return number.characters;
}

}  // namespace

std::u32string html_unescape(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const Reference reference = text[i] == '&' ? read_reference(text.substr(i + 1)) : Reference{};
    if (reference.length > 0) {
      out += reference.characters;
      i += 1 + reference.length;
    } else {
      out += text[i++];
    }
  }
  return out;
}

std::u32string unescape_entities(std::u32string_view text) {
  std::u32string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = text[i] == '&' ? match_ftfy_entity(text.substr(i + 1)) : 0;
    const auto characters = length > 0 ? ftfy_entity(text.substr(i + 1, length)) : std::nullopt;
    if (characters) {
      out += *characters;
      i += 1 + length;
    } else {
      out += text[i++];
    }
  }
  return out;
}

}  // namespace nightreel::text

// The encodings that ftfy takes mojibake for, and its reading of UTF-8 variants. Stateless; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace nightreel::text {

/// The single-byte encodings that are tried, in ftfy's order; number 0 is Latin-1.
struct Encoding {
  std::size_t number;
  std::string_view name;
  bool sloppy;  // byte 1A stands for U+FFFD, unassigned bytes for the code points of the same number
};

std::size_t encoding_count();
Encoding encoding(std::size_t number);

/// The bytes of `text` in encoding `number`; nothing where a character has none.
std::optional<std::string> encode(std::u32string_view text, std::size_t number);

/// Windows-1252, where unassigned bytes are errors.
std::optional<std::u32string> decode_windows_1252(std::string_view bytes);
/// Windows-1252 with the gaps filled: what fix_c1_controls makes of U+0080 to U+009F.
char32_t sloppy_windows_1252(char32_t c1_control);

/// Nothing where the bytes are not well-formed.
std::optional<std::u32string> decode_strict_utf8(std::string_view bytes);

/// ftfy's codec utf-8-variants: CESU-8 pairs and Java's C0 80 for U+0000 beside UTF-8.
std::optional<std::u32string> decode_utf8_variants(std::string_view bytes);

}  // namespace nightreel::text

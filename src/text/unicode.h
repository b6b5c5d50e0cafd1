// UTF-8, normal forms and grapheme clusters: the layer's one use of utf8proc. Stateless; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nightreel::text {

/// Code points of `utf8`; each maximal wrong piece becomes U+FFFD, as Python's decode("utf-8", "replace") does.
std::u32string decode_utf8(std::string_view utf8);

/// Reads one well-formed character at `position` (RFC 3629: shortest form, no surrogates) and steps over it; returns
/// false and steps over the maximal wrong piece otherwise. `position` must be inside `bytes`.
bool next_character(std::string_view bytes, std::size_t& position, char32_t& character);

void append_utf8(std::string& out, char32_t character);
std::string encode_utf8(std::u32string_view text);

/// Normal form C. Linear but for the sorting of runs of combining marks (n log n).
std::u32string normalize_nfc(std::u32string_view text);
/// Normal form KC.
std::u32string normalize_nfkc(std::u32string_view text);

/// Where the extended grapheme clusters of `text` begin, in code points; empty for empty text.
std::vector<std::size_t> grapheme_starts(std::u32string_view text);

/// Unicode's White_Space property (Rust's char::is_whitespace). Python's \s has U+001C to U+001F as well.
bool is_white_space(char32_t character);
/// Letters, marks, decimal digits, connector punctuation (the \w of Rust's regex crate).
bool is_word_character(char32_t character);

}  // namespace nightreel::text

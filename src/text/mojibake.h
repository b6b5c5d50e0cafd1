// ftfy.fix_encoding: text that was decoded with the wrong encoding, decoded again. Stateless; any thread.
#pragma once

#include <string>

namespace nightreel::text {

/// How often a fixer is repeated at most: real text settles after two or three rounds.
inline constexpr int kMaxRounds = 64;

/// As ftfy 6.3.1 with its defaults.
std::u32string fix_encoding(std::u32string text);

/// Windows-1252's characters for U+0080 to U+009F.
std::u32string fix_c1_controls(std::u32string text);

}  // namespace nightreel::text

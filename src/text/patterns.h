// ftfy's regular expressions as tables: alternations of sequences of character sets. Stateless; any thread.
//
// The tables are generated (tools/text/make_tables.py); this file matches them. Matching looks at no more than seven
// characters at a place, so that a search is linear.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nightreel::text {

/// ftfy.badness.is_bad: does the text look like mojibake anywhere?
bool is_bad(std::u32string_view text);

struct Match {
  std::size_t begin;
  std::size_t end;  // begin == end: no match
};

/// The first match of ftfy's UTF8_DETECTOR_RE at or after `from`: a run of what UTF-8 looks like after it was decoded
/// as a single-byte encoding.
Match find_utf8_mojibake(std::u32string_view text, std::size_t from);

/// Length of the match of ftfy's ALTERED_UTF8_RE at `position`: UTF-8 whose byte A0 became a blank. 0: none.
std::size_t match_altered_utf8(std::string_view bytes, std::size_t position);

/// Length of the match of ftfy's LOSSY_UTF8_RE at `position`: UTF-8 with bytes lost to 1A or '?'. 0: none.
std::size_t match_lossy_utf8(std::string_view bytes, std::size_t position);

/// Python's \s and \d.
bool is_python_space(char32_t character);
bool is_python_digit(char32_t character);

}  // namespace nightreel::text

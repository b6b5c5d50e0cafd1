// HTML entities: Python's html.unescape and ftfy's stricter reading of them. Stateless; any thread.
#pragma once

#include <string>
#include <string_view>

namespace nightreel::text {

/// Python's html.unescape: also entities without a semicolon and longest known beginnings of names.
std::u32string html_unescape(std::u32string_view text);

/// ftfy.fixes.unescape_html: only names that end in a semicolon, and some that were written in capitals.
std::u32string unescape_entities(std::u32string_view text);

}  // namespace nightreel::text

// Strict JSON: what nlohmann-json lets through and this program must not.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace nightreel::base {

using Json = nlohmann::json;

/// Parses one JSON value. Refuses duplicate keys, trailing text, invalid UTF-8, numbers out of a double's range and
/// nesting deeper than 64. Throws Error{usage} whose message says what and at which byte, without naming a file.
Json parse_json(std::string_view text);

/// The value as text: on one line, or indented by `indent` spaces. Bytes that are no UTF-8 become U+FFFD: what is
/// written down of foreign text must not fail for it.
std::string dump_json(const Json& value, int indent = -1);

/// Reads and parses a file of at most `limit` bytes. Throws Error{model} that begins with the path.
Json read_json(const std::string& path, std::size_t limit = 256U << 20U);

}  // namespace nightreel::base

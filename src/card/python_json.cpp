#include "card/python_json.h"

#include <array>
#include <optional>
#include <string_view>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::card {
namespace {

constexpr std::array<std::string_view, 3> kNoNumbers{"-Infinity", "Infinity", "NaN"};

/// The one that `rest` begins with, or nothing.
std::string_view no_number_at(std::string_view rest) {
  for (const std::string_view word : kNoNumbers) {
    if (rest.substr(0, word.size()) == word) return word;
  }
  return {};
}

/// `text` with null for each of them outside of strings.
std::string with_nulls(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string_view word = quoted ? std::string_view() : no_number_at(text.substr(at));
    if (!word.empty()) {
      out += "null";
      at += word.size() - 1;
      continue;
    }
    out += text[at];
    if (text[at] == '"') quoted = !quoted;
    if (quoted && text[at] == '\\' && at + 1 < text.size()) out += text[++at];
  }
  return out;
}

/// What the file says once it has nulls; nothing where it is no JSON then either.
std::optional<base::Json> parse_with_nulls(const std::string& path, std::size_t limit) {
  try {
    return base::parse_json(with_nulls(base::read_file(path, limit)));
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

}  // namespace

base::Json read_python_json(const std::string& path, std::size_t limit) {
  try {
    return base::read_json(path, limit);
  } catch (const base::Error&) {
    if (auto json = parse_with_nulls(path, limit)) return std::move(*json);
    throw;
  }
}

}  // namespace nightreel::card

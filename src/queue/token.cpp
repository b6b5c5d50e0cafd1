#include "nightreel/queue/token.h"

#include <algorithm>
#include <charconv>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"

namespace nightreel::queue {

std::optional<Token> parse_token(std::string_view text) {
  const auto is_word = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  Token token;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), token.number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  if (rest.empty()) return token;
  if (rest.size() < 2 || rest[0] != '-' || !std::all_of(rest.begin() + 1, rest.end(), is_word)) return std::nullopt;
  token.incarnation = rest.substr(1);
  return token;
}

// 31 bits of the incarnation above 32 of the number: a JSON number of any reader.
std::uint64_t token_number(const std::string& text) {
  const auto token = parse_token(text);
  if (!token) throw base::Error(base::ErrorKind::queue, "'" + base::printable(text, 60) + "' is no fencing token");
  if (token->incarnation.empty()) return token->number;
  const auto digest = base::sha256(token->incarnation);
  std::uint64_t high = 0;
  for (std::size_t i = 0; i < 4; ++i) high = high << 8U | digest.at(i);
  return (high & 0x7FFFFFFFU) << 32U | (token->number & 0xFFFFFFFFU);
}

}  // namespace nightreel::queue

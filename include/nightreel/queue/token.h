// A fencing token's two parts: "7-0123456789abcdef", the number of the claim and the incarnation of the queue's data.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nightreel::queue {

struct Token {
  std::uint64_t number = 0;
  std::string incarnation;  // empty: of a queue of version 0.1
};

/// Nothing for what is no token: a number, and after a '-' letters and digits.
std::optional<Token> parse_token(std::string_view text);

/// What stands for the token between a rank and its renderer: another number for each claim, of this incarnation and of
/// others. Throws Error{queue} for what is no token.
std::uint64_t token_number(const std::string& text);

}  // namespace nightreel::queue

#include "nightreel/settings/id.h"

#include <algorithm>
#include <cstddef>

namespace nightreel::settings {
namespace {

constexpr std::size_t kMaxId = 128;

}  // namespace

bool was_id(std::string_view id) {
  const auto legal = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !id.empty() && id.size() <= kMaxId && id[0] != '.' && std::all_of(id.begin(), id.end(), legal);
}

bool is_id(std::string_view text) {
  return was_id(text) && text[0] != '-' && text.substr(0, kInbox.size()) != kInbox;
}

}  // namespace nightreel::settings

// Reading a message's fields without trusting them. Private to the protocol layer.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "nightreel/base/error.h"
#include "nightreel/protocol/message.h"

namespace nightreel::protocol {

/// Runs `fill` on the body; a missing or mistyped field becomes an Error{renderer} that names the message's type.
template <typename Value, typename Fill>
Value read(const Message& message, Fill fill) {
  Value value;
  try {
    fill(value, message.body);
  } catch (const Json::exception& e) {
    const std::string why = e.what();  // "[json.exception.type_error.302] type must be …"
    const auto bracket = why.find("] ");
    throw base::Error(
        base::ErrorKind::renderer,
        message.type + ": " + base::printable(bracket == std::string::npos ? why : why.substr(bracket + 2)));
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::renderer, message.type + ": " + e.what());
  }
  return value;
}

/// nlohmann turns 1.5, -1 and 1e300 into any integer type without a word.
template <typename Target>
void get(const Json& body, const char* name, Target& target) {
  const Json& value = body.at(name);
  if constexpr (std::is_integral_v<Target> && !std::is_same_v<Target, bool>) {
    const bool fits = value.is_number_unsigned()
                          ? std::in_range<Target>(value.get<std::uint64_t>())
                          : value.is_number_integer() && std::in_range<Target>(value.get<std::int64_t>());
    if (!fits) throw base::Error(base::ErrorKind::renderer, std::string(name) + " is no integer of its type");
  }
  value.get_to(target);
}

/// Fields that `group` has, and `probe` where it asks about a group.
inline void read_group(GroupRequest& group, const Json& body) {
  get(body, "backend", group.backend);
  get(body, "address", group.address);
  get(body, "rank", group.rank);
  get(body, "size", group.size);
  get(body, "deadline_ms", group.deadline_ms);
  if (body.contains("listen_on")) get(body, "listen_on", group.listen_on);
  if (body.contains("stay")) get(body, "stay", group.stay);
}

inline Json group_fields(const GroupRequest& group) {
  return {{"backend", group.backend}, {"address", group.address},         {"rank", group.rank},
          {"size", group.size},       {"deadline_ms", group.deadline_ms}, {"listen_on", group.listen_on},
          {"stay", group.stay}};
}

}  // namespace nightreel::protocol

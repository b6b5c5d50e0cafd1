// What a job's id may be.
//
// Plain functions; any thread.
#pragma once

#include <string_view>

namespace nightreel::settings {

inline constexpr std::string_view kInbox = "inbox-";  // begins the ids of records of refused inbox entries

/// [A-Za-z0-9_][A-Za-z0-9._-]{0,127} that does not begin with "inbox-": never hidden, never an option, never a path.
bool is_id(std::string_view text);

/// What version 0.1 took, which the queue may still hold: never hidden, never a path.
bool was_id(std::string_view text);

}  // namespace nightreel::settings

// What the first rank of a group and its members say to each other: one JSON object a message.
//
// Plain values; any thread. Text that is no such message is Error{environment}: the other rank is another version.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nightreel::rank {

inline constexpr std::chrono::milliseconds kMemberPoll{10};  // between two looks for messages
inline constexpr double kSign_s = 1;                         // between two signs of life

/// To a member: start, kill and send are about its renderer, out and end about itself (no more renderers; the run is
/// over), alive about the first rank. From a member: event and died are of its renderer, alive, asked (finish, stop)
/// and left (it renders alone) its own.
struct GroupMessage {
  std::string what;
  std::int64_t start = 0;  // which of the renderer's starts: what an earlier one said does not count
  std::string
      text;  // of send and event the line; of start plans that failed; of died how; of out and left why; of asked what
  std::string words;     // of died: the end of its log
  double silence_s = 0;  // of the first rank's alive: until its next sign, at most, where that is longer than ever
};

std::string to_json(const GroupMessage& message);
GroupMessage group_message(const std::string& json);

}  // namespace nightreel::rank

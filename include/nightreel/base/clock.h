// Wall time for what people read, monotonic time for what the program decides. Stateless; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace nightreel::base {

/// Wall time in milliseconds since 1970, UTC.
std::int64_t now_ms();

/// "2026-11-23T09:30:00.123Z".
std::string iso_time(std::int64_t unix_ms);

/// Seconds since this object was made, from a clock that never jumps.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// A DURATION in seconds: "90s", "45m", "6h30m", "2d", or a clock time "@07:00": the next one, local time, counted
/// from `from_ms`. Throws Error{usage} that says what is accepted.
double parse_duration(std::string_view text, std::int64_t from_ms);

/// A SIZE in bytes: "500MB", "24GB", "1TiB", "1024". Throws Error{usage}.
std::uint64_t parse_size(std::string_view text);

/// "1 h 04 min", "38 s": for people.
std::string human_duration(double seconds);

}  // namespace nightreel::base

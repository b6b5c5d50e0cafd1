#include "nightreel/base/clock.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <ctime>
#include <optional>
#include <regex>

#include "nightreel/base/error.h"

namespace nightreel::base {
namespace {

std::optional<double> until_clock_time(const std::string& text, std::int64_t from_ms) {
  static const std::regex kClock("@([0-2]?[0-9]):([0-5][0-9])");
  std::smatch match;
  if (!std::regex_match(text, match, kClock) || std::stoi(match[1]) > 23) return std::nullopt;
  const std::time_t from = from_ms / 1000;
  std::tm local{};
  localtime_r(&from, &local);
  local.tm_hour = std::stoi(match[1]);
  local.tm_min = std::stoi(match[2]);
  local.tm_sec = 0;
  local.tm_isdst = -1;
  std::time_t target = std::mktime(&local);
  if (target <= from) {
    ++local.tm_mday;
    local.tm_isdst = -1;
    target = std::mktime(&local);
  }
  return static_cast<double>(target) - static_cast<double>(from_ms) / 1000.0;
}

}  // namespace

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string iso_time(std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds), unix_ms % 1000);
}

double parse_duration(std::string_view text, std::int64_t from_ms) {
  const std::string copy(text);
  if (const auto seconds = until_clock_time(copy, from_ms)) return *seconds;
  static const std::regex kParts("(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?");
  std::smatch match;
  if (copy.empty() || !std::regex_match(copy, match, kParts)) {
    throw Error(ErrorKind::usage, "'" + printable(text) + "' is no duration: write 90s, 45m, 6h30m or @07:00");
  }
  constexpr std::array<double, 4> kSeconds{86400, 3600, 60, 1};
  double total = 0;
  for (std::size_t i = 0; i < kSeconds.size(); ++i) {
    if (match[i + 1].matched) total += kSeconds.at(i) * std::stod(match[i + 1]);
  }
  return total;
}

std::uint64_t parse_size(std::string_view text) {
  static const std::regex kSize("([0-9]{1,15}(?:\\.[0-9]{1,6})?) ?([kKMGT]i?)?B?");
  const std::string copy(text);
  std::smatch match;
  if (!std::regex_match(copy, match, kSize)) {
    throw Error(ErrorKind::usage, "'" + printable(text) + "' is no size: write 500MB, 24GB or 1TiB");
  }
  const std::string unit = match[2];
  const double base = unit.size() == 2 ? 1024.0 : 1000.0;
  const std::size_t power = unit.empty() ? 0 : std::string("KMGT").find(static_cast<char>(std::toupper(unit[0]))) + 1;
  const double bytes = std::stod(match[1]) * std::pow(base, static_cast<double>(power));
  if (bytes > 1e18) throw Error(ErrorKind::usage, "'" + printable(text) + "' is larger than any storage");
  return static_cast<std::uint64_t>(bytes);
}

std::string human_duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace nightreel::base

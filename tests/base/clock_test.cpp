#include "nightreel/base/clock.h"

#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <string>

#include "support/error.h"

namespace nightreel::base {
namespace {

/// Local time today at h:min, as milliseconds since 1970.
std::int64_t local_ms(int day, int hour, int minute) {
  std::tm local{};
  local.tm_year = 126;
  local.tm_mon = 10;
  local.tm_mday = day;
  local.tm_hour = hour;
  local.tm_min = minute;
  local.tm_isdst = -1;
  return static_cast<std::int64_t>(std::mktime(&local)) * 1000;
}

TEST_CASE("durations are read") {
  struct Case {
    const char* text;
    double seconds;
  };
  for (const auto& c : {Case{"90s", 90}, Case{"45m", 2700}, Case{"6h30m", 23400}, Case{"2d", 172800},
                        Case{"1d2h3m4s", 93784}, Case{"0s", 0}}) {
    CHECK(parse_duration(c.text, 0) == c.seconds);
  }
}

TEST_CASE("a clock time is the next one, local") {
  CHECK(parse_duration("@07:00", local_ms(23, 22, 0)) == 9 * 3600);
  CHECK(parse_duration("@7:00", local_ms(23, 6, 59)) == 60);
  CHECK(parse_duration("@07:00", local_ms(23, 7, 0)) == 24 * 3600);
  CHECK(parse_duration("@00:00", local_ms(30, 23, 0)) == 3600);
  CHECK(parse_duration("@07:00", local_ms(23, 6, 0) + 500) == doctest::Approx(3599.5));
}

TEST_CASE("what is no duration is refused with what is accepted") {
  for (const char* text :
       {"", "90", "s", "1.5h", "-1s", "5x", "30m6h", "@24:00", "@7", "@07:60", "@", "1h ", "90S", "99999999999s"}) {
    INFO(text);
    const auto error = test::thrown_by([&] { parse_duration(text, 0); });
    CHECK(error.kind == ErrorKind::usage);
    CHECK(test::contains(error.message, "90s, 45m, 6h30m or @07:00"));
  }
}

TEST_CASE("sizes are read, decimal and binary") {
  struct Case {
    const char* text;
    std::uint64_t bytes;
  };
  for (const auto& c :
       {Case{"1024", 1024}, Case{"500MB", 500000000}, Case{"24GB", 24000000000}, Case{"1TiB", 1ULL << 40U},
        Case{"2 KiB", 2048}, Case{"1.5GB", 1500000000}, Case{"3k", 3000}, Case{"7B", 7}, Case{"0", 0}}) {
    CHECK(parse_size(c.text) == c.bytes);
  }
  for (const char* text : {"", "-1", "GB", "1PB", "1e9", "5 M B", "1..5GB", "999999999999999TB"}) {
    INFO(text);
    CHECK(test::thrown_by([&] { parse_size(text); }).kind == ErrorKind::usage);
  }
}

TEST_CASE("times are written for people and for programs") {
  CHECK(iso_time(0) == "1970-01-01T00:00:00.000Z");
  CHECK(iso_time(1795426200123) == "2026-11-23T09:30:00.123Z");
  CHECK(human_duration(0.4) == "0 s");
  CHECK(human_duration(38) == "38 s");
  CHECK(human_duration(59.6) == "1 min 00 s");
  CHECK(human_duration(3840) == "1 h 04 min");
  CHECK(human_duration(-5) == "0 s");
}

TEST_CASE("a stopwatch counts the seconds since it was made") {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); };
  const auto before = Clock::now();
  const Stopwatch watch;
  const auto after = Clock::now();
  double last = 0;
  do {
    const double least = since(after);
    const double seconds = watch.seconds();
    const bool right = seconds >= least && seconds <= since(before) && seconds >= last;
    CHECK(right);
    last = seconds;
  } while (since(after) < 0.02);
  CHECK(last > 0);
}

}  // namespace
}  // namespace nightreel::base

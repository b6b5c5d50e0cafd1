// When a drain loop asks for work.
#include "rank/night.h"

using namespace nightreel;
using namespace nightreel::test;

TEST_CASE_FIXTURE(Night, "a rank that is to ask seldom takes the next job at once, and ends at once") {
  for (const char* id : {"a", "b", "c", "d"}) add(id, "a circle");
  Rank one = rank();
  one.limits.poll_s = 3600;  // the test would last as long
  const auto summary = one.drain();
  CHECK(summary.jobs.size() == 4);
  for (const char* id : {"a", "b", "c", "d"}) check_done(id, 1);
}

TEST_CASE_FIXTURE(Night,
                  "an idle rank that waits for other runs asks for work and nothing else, as often as it is told") {
  add("a", "a circle");
  queue::RedisQueue other(server.queue_options(std::chrono::hours(1)));
  queue::ClaimRequest who = request(folder / "out");
  who.run = "run-2";
  REQUIRE(other.claim(who).lease);
  Rank one = rank();
  one.options.wait_for_all = true;
  one.limits.poll_s = 0.2;
  const auto calls = [&] {
    const std::string stats = raw.command({"INFO", "commandstats"}).text();
    const auto at = stats.find("cmdstat_evalsha:calls=");
    return at == std::string::npos ? 0L : std::stol(stats.substr(at + 22));
  };
  const long before = calls();
  std::jthread stop([&] {
    CHECK(comes([&] { return calls() - before >= 8; }));
    one.signals.ask(rank::Ask::finish);
  });
  const base::Stopwatch watch;
  CHECK(one.drain().stopped_early);
  const double asked_s = watch.seconds();
  stop.join();
  CHECK(static_cast<double>(calls() - before) <= asked_s / 0.2 + 1);  // claims
}

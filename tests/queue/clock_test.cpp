// A server whose clock is set back: what waits for a moment waits no longer for that.
#include <doctest/doctest.h>

#include <cstdlib>
#include <optional>

#include "nightreel/base/clock.h"
#include "queue/queue_fixture.h"
#include "support/comes.h"

using namespace nightreel;
using namespace nightreel::queue;
using test::a_job;
using test::request;
using Fixture = test::QueueFixture;

namespace {

constexpr std::int64_t kHour_s = 3600;
constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kHour = kSecond * kHour_s;

// Its clock is as wrong as a file says.
struct Stepped {
  test::TempFolder folder;
  test::TestServer server{
      "appendonly no\n",
      {{"LD_PRELOAD", std::string(std::getenv("NIGHTREEL_BINARY_DIR")) + "/lib/libstepped_clock.so"},
       {"STEPPED_CLOCK", folder / "offset"}}};
  RedisQueueOptions options = server.queue_options();
  Redis raw{server.options()};

  void step(std::int64_t seconds) {
    base::replace_file(folder / "offset", std::to_string(seconds));
    REQUIRE(test::comes([&] { return std::abs(clock_ms() - base::now_ms() - kSecond * seconds) < 60'000; }));
  }
  // Until the moment that `id` has in a set.
  std::int64_t left_ms(const std::string& set, const std::string& id) {
    return std::stoll(raw.command({"ZSCORE", test::kPrefix + set, id}).text()) - clock_ms();
  }
  std::int64_t clock_ms() { return kSecond * std::stoll(raw.command({"TIME"}).at(0).text()); }
};

}  // namespace

TEST_CASE_FIXTURE(Stepped, "a delay and a lease have no longer to go when the clock was set back by an hour") {
  options.first_backoff = options.longest_backoff = std::chrono::hours(1);
  RedisQueue queue(options);
  queue.submit({a_job("delayed", 0, 9), a_job("held", 0, 9)}, {});
  queue.fail(queue.claim(request()).lease->ref, {"storage", "m", false, false});
  const Lease held = *queue.claim(request()).lease;
  REQUIRE(held.ref.id == "held");
  const std::int64_t delay = left_ms("delay", "delayed");
  const std::int64_t lease = left_ms("run", "held");
  step(-kHour_s);
  CHECK(left_ms("delay", "delayed") > delay + kHour / 2);
  CHECK(!queue.claim(request()).lease);  // this one sees the step
  CHECK(left_ms("delay", "delayed") <= delay + kSecond);
  CHECK(left_ms("run", "held") <= lease + kSecond);
  CHECK(queue.renew(held.ref, {}).held);
  CHECK(left_ms("delay", "delayed") > delay - kHour / 2);
}

TEST_CASE_FIXTURE(Fixture, "a server's clock that steps back keeps nobody waiting longer") {
  queue.submit({a_job("delayed", 0, 9), a_job("held", 0, 9)}, {});
  queue.fail(claim().ref, {"storage", "m", false, false});
  claim();
  // As if all this had been before the clock went back by an hour: the times of then are an hour ahead of now.
  const auto ahead = [&](const std::string& set, const std::string& id, std::int64_t ms) {
    raw.command({"ZINCRBY", test::kPrefix + set, std::to_string(ms), id});
  };
  ahead("delay", "delayed", kHour);
  ahead("run", "held", kHour);
  raw.command({"INCRBY", test::kPrefix + "clock", std::to_string(kHour)});
  queue.claim(request("/out"));
  const std::int64_t clock = raw.command({"GET", test::kPrefix + "clock"}).integer();
  CHECK(raw.command({"ZSCORE", test::kPrefix + "run", "held"}).integer() - clock <= 30'000);
  std::optional<Lease> again;
  CHECK(test::comes([&] { return (again = queue.claim(request()).lease).has_value(); }));
  CHECK(again->ref.id == "delayed");

  // Less than a second is no step, and what is due later by right stays so.
  raw.command({"ZADD", test::kPrefix + "run", std::to_string(clock + 2 * kHour), "held"});
  raw.command({"INCRBY", test::kPrefix + "clock", "600"});
  queue.claim(request());
  CHECK(raw.command({"ZSCORE", test::kPrefix + "run", "held"}).integer() == clock + 2 * kHour);
}

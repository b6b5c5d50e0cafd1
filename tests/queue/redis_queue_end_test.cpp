#include <doctest/doctest.h>

#include <optional>
#include <set>

#include "queue/queue_fixture.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::comes;
using test::request;
using Fixture = test::QueueFixture;

TEST_CASE_FIXTURE(Fixture, "a wrong token changes nothing") {
  queue.submit({a_job("a")}, {});
  const Lease first = claim();
  expire("a");
  const Lease second = claim();
  CHECK(std::stoll(second.ref.token) > std::stoll(first.ref.token));
  CHECK(second.attempt == 2);
  for (const LeaseRef& wrong : {first.ref, LeaseRef{"a", ""}, LeaseRef{"none", "1"}}) {
    CHECK(!queue.renew(wrong, {}).held);
    CHECK(queue.begin_publish(wrong) == Fence::stale);
    CHECK(!queue.complete(wrong, {"v", "s", 1}));
    CHECK(!queue.fail(wrong, {"internal", "m", true, false}));
    CHECK(!queue.release(wrong));
  }
  CHECK(view("a").state == JobState::running);
  CHECK(queue.begin_publish(second.ref) == Fence::open);
}

TEST_CASE_FIXTURE(Fixture, "an expired lease is not renewed, but completes while nobody else has the job") {
  queue.submit({a_job("a")}, {});
  const Lease lease = claim();
  expire("a");
  CHECK(!queue.renew(lease.ref, {}).held);
  CHECK(queue.begin_publish(lease.ref) == Fence::stale);
  CHECK(queue.complete(lease.ref, {"v", "s", 1}));
}

TEST_CASE_FIXTURE(Fixture, "a failure waits longer each time, the last allowed one is final") {
  RedisQueueOptions slow = server.queue_options();
  slow.first_backoff = 1000s;
  slow.longest_backoff = 2000s;
  RedisQueue later(slow);
  queue.submit({a_job("a")}, {});
  for (int attempt = 1; attempt <= 3; ++attempt) {
    std::optional<Lease> lease;
    REQUIRE(comes([&] { return (lease = queue.claim(request()).lease).has_value(); }));
    CHECK(lease->attempt == attempt);
    RedisQueue& by = attempt == 1 ? later : queue;
    const auto state = by.fail(lease->ref, {"storage", "disk \x1b[2J full", false, false});
    CHECK(state == (attempt < 3 ? JobState::delayed : JobState::failed));
    CHECK(by.fail(lease->ref, {"storage", "again", false, false}) == state);
    if (attempt > 1) continue;  // after the second the next comes by itself, in some 100 ms
    const auto nothing = queue.claim(request());
    CHECK(!nothing.lease);
    CHECK(nothing.counts.delayed == 1);
    REQUIRE(nothing.next_change);
    CHECK(*nothing.next_change > 400s);
    CHECK(*nothing.next_change <= 1500s);
    due("a");
  }
  CHECK(view("a").error_kind == "storage");
  CHECK(view("a").error == "disk \\x1b[2J full");
  CHECK(queue.counts("").failed == 1);
  CHECK(queue.submit({a_job("a")}, {}) == std::vector{Submitted::unchanged});  // failed until `retry`
  CHECK(!queue.claim(request()).lease);
}

TEST_CASE_FIXTURE(Fixture, "the pause after a failure doubles, has a limit, and differs by half at random") {
  RedisQueueOptions options = server.queue_options();
  options.first_backoff = 100s;
  options.longest_backoff = 300s;
  RedisQueue slow(options);
  std::vector<Submission> jobs;
  for (int i = 0; i < 20; ++i) jobs.push_back(a_job("j" + std::to_string(i), 0, 9));
  slow.submit(jobs, {});
  for (const std::int64_t want : {100'000, 200'000, 300'000, 300'000}) {
    std::set<std::int64_t> pauses;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const Lease lease = *slow.claim(request()).lease;
      slow.fail(lease.ref, {"storage", "m", false, false});
      const std::int64_t due = raw.command({"ZSCORE", test::kPrefix + "delay", lease.ref.id}).integer();
      const Reply last = raw.command({"XREVRANGE", test::kPrefix + "events", "+", "-", "COUNT", "1"});
      const std::int64_t pause = due - std::stoll(last.at(0).at(0).text());  // an event's id is the server's time
      CHECK(pause >= want / 2 - 5);
      CHECK(pause <= want * 3 / 2);
      pauses.insert(pause);
    }
    CHECK(pauses.size() > 10);
    for (const auto& one : jobs) due(one.id);
  }
}

TEST_CASE_FIXTURE(Fixture, "a permanent failure is final at once") {
  queue.submit({a_job("a")}, {});
  CHECK(queue.fail(claim().ref, {"job", "height: 65", true, false}) == JobState::failed);
  CHECK(!view("a").poison);
}

TEST_CASE_FIXTURE(Fixture, "a released job keeps its place and its attempt") {
  queue.submit({a_job("a"), a_job("b")}, {});
  const Lease lease = claim();
  CHECK(queue.release(lease.ref) == JobState::pending);
  CHECK(queue.release(lease.ref) == JobState::pending);
  CHECK(view("a").attempts == 0);
  const Lease again = claim();
  CHECK(again.ref.id == "a");
  CHECK(again.attempt == 1);
}

TEST_CASE_FIXTURE(Fixture, "a job that is to be alone stays so until it has ended") {
  queue.submit({a_job("a", 0, 4)}, {});
  const Lease first = claim();
  CHECK(!first.alone);
  queue.release(first.ref, true);
  CHECK(view("a").attempts == 0);
  const Lease second = claim();
  CHECK(second.alone);
  queue.release(second.ref);
  const Lease third = claim();
  CHECK(third.alone);
  CHECK(queue.fail(third.ref, {"job", "m", true, false}) == JobState::failed);
  queue.retry("a");
  CHECK(!claim().alone);
}

TEST_CASE_FIXTURE(Fixture, "latents that are not finite twice fail the job for good") {
  queue.submit({a_job("a", 0, 9)}, {});
  CHECK(queue.fail(claim().ref, {"numeric", "NaN", false, false}) == JobState::delayed);
  due("a");
  CHECK(queue.fail(claim().ref, {"storage", "m", false, false}) == JobState::delayed);
  due("a");
  CHECK(queue.fail(claim().ref, {"numeric", "NaN", false, false}) == JobState::failed);
  queue.retry("a");
  CHECK(queue.fail(claim().ref, {"numeric", "NaN", false, false}) == JobState::delayed);
}

TEST_CASE_FIXTURE(Fixture, "lost leases use attempts up, and the last one makes the job poison") {
  queue.submit({a_job("a", 0, 2), a_job("b")}, {});
  claim();
  expire("a");
  CHECK(queue.reap() == 1);
  CHECK(view("a").state == JobState::pending);
  CHECK(claim().attempt == 2);
  expire("a");
  CHECK(queue.reap() == 1);
  CHECK(queue.reap() == 0);
  CHECK(view("a").state == JobState::failed);
  CHECK(view("a").poison);
  CHECK(view("a").error.find("rank 0 on node") != std::string::npos);
  CHECK(queue.retry("a") == Retried::pending);
  CHECK(!view("a").poison);
  CHECK(view("a").attempts == 0);
}

TEST_CASE_FIXTURE(Fixture, "cancelling ends what waits and asks what runs") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  CHECK(queue.cancel("none") == Cancelled::unknown);
  CHECK(queue.cancel("a") == Cancelled::now);
  CHECK(queue.cancel("a") == Cancelled::ended_before);
  const Lease b = claim();
  CHECK(queue.cancel("b") == Cancelled::asked);
  CHECK(queue.renew(b.ref, {}).cancel_requested);
  CHECK(queue.begin_publish(b.ref) == Fence::cancel_requested);
  CHECK(queue.release(b.ref) == JobState::cancelled);
  const Lease c = claim();
  queue.fail(c.ref, {"storage", "m", false, false});
  CHECK(queue.cancel("c") == Cancelled::now);  // delayed
  CHECK(queue.retry("c") == Retried::pending);
  CHECK(queue.retry("c") == Retried::not_ended);
  CHECK(queue.retry("none") == Retried::unknown);
  claim();
  queue.cancel("c");
  expire("c");
  CHECK(queue.reap() == 1);
  CHECK(view("c").state == JobState::cancelled);
  CHECK(queue.counts("").cancelled == 3);
}

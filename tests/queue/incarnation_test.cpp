// Data that a server has lost and begun again: nobody's old lease counts in them, and a run's list brings its jobs
// back.
#include <doctest/doctest.h>

#include "nightreel/queue/token.h"
#include "queue/queue_fixture.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::queue;
using test::a_job;
using test::request;
using Fixture = test::QueueFixture;

namespace {

void is_stale(RedisQueue& queue, const LeaseRef& ref) {
  CHECK(!queue.renew(ref, {}).held);
  CHECK(queue.begin_publish(ref) == Fence::stale);
  CHECK(!queue.complete(ref, {"v", "s", 1}));
  CHECK(!queue.fail(ref, {"storage", "m", false, false}));
  CHECK(!queue.release(ref));
}

}  // namespace

TEST_CASE("a token has a number and an incarnation, and another number for the renderer in each of them") {
  CHECK(parse_token("7-ab12")->number == 7);
  CHECK(parse_token("7-ab12")->incarnation == "ab12");
  CHECK(parse_token("7")->incarnation.empty());  // of version 0.1
  for (const char* bad : {"", "x", "-ab", "7-", "7-a.b", "7-a/b", "7 ", "99999999999999999999-a"}) {
    CAPTURE(bad);
    CHECK(!parse_token(bad));
    CHECK_THROWS_AS(token_number(bad), base::Error);
  }
  CHECK(token_number("7") == 7);
  CHECK(token_number("7-ab12") != token_number("7-cd34"));
  CHECK(token_number("8-ab12") == token_number("7-ab12") + 1);
  CHECK(token_number("8-ab12") < 1ULL << 63U);
}

TEST_CASE_FIXTURE(Fixture, "a holder of lost data is stale, whatever number its token had") {
  CHECK(queue.incarnation().empty());
  queue.submit({a_job("a")}, {});
  const std::string first = queue.incarnation();
  CHECK(first.size() == 16);
  const Lease before = claim();
  CHECK(queue.incarnation() == first);
  CHECK(parse_token(before.ref.token)->incarnation == first);
  raw.command({"FLUSHALL"});
  is_stale(queue, before.ref);
  queue.submit({a_job("a")}, {});
  CHECK(queue.incarnation() != first);
  const Lease after = claim();
  CHECK(parse_token(after.ref.token)->number == parse_token(before.ref.token)->number);
  is_stale(queue, before.ref);
  CHECK(queue.begin_publish(after.ref) == Fence::open);
  CHECK(queue.complete(after.ref, {"v", "s", 1}));
  CHECK(!queue.complete(before.ref, {"v", "s", 1}));  // a repeated end of the other is no end of this
}

TEST_CASE_FIXTURE(Fixture, "whoever begins a queue, an inbox entry too, gives it its incarnation") {
  raw.command({"RPUSH", test::kPrefix + "inbox", "bad"});
  test::empty_inbox(queue);
  CHECK(queue.incarnation().size() == 16);
  RedisQueueOptions options = server.queue_options();
  options.name = "other";
  RedisQueue other(options);
  other.submit({a_job("a")}, {});
  CHECK(other.incarnation() != queue.incarnation());
}

TEST_CASE_FIXTURE(Fixture, "a queue of version 0.1 gets an incarnation and goes on counting") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  claim();
  // As 0.1 left it: tokens are numbers, and nobody knows an incarnation.
  raw.command({"DEL", test::kPrefix + "incarnation"});
  raw.command({"SET", test::kPrefix + "fence", "41"});
  raw.command({"HSET", test::kPrefix + "job:a", "token", "41"});
  is_stale(queue, {"a", "41"});
  const Lease b = claim();
  CHECK(b.ref.id == "b");
  CHECK(parse_token(b.ref.token)->number == 42);
  CHECK(queue.begin_publish(b.ref) == Fence::open);
  expire("a");
  CHECK(queue.reap() == 1);
  CHECK(claim().ref.id == "a");
}

TEST_CASE_FIXTURE(Fixture, "a counter of tokens that was lost alone begins another incarnation") {
  queue.submit({a_job("a", 0, 9)}, {});
  const Lease before = claim();
  raw.command({"DEL", test::kPrefix + "fence"});
  expire("a");
  const Lease after = claim();
  CHECK(parse_token(after.ref.token)->incarnation != parse_token(before.ref.token)->incarnation);
  is_stale(queue, before.ref);
  CHECK(queue.renew(after.ref, {}).held);
  raw.command({"DEL", test::kPrefix + "incarnation"});
  is_stale(queue, after.ref);
}

TEST_CASE_FIXTURE(Fixture,
                  "what the queue has lost of a list is brought back with its attempts, what it knows is not") {
  queue.submit({a_job("a", 5, 9), a_job("b")}, {});
  const std::string before = queue.incarnation();
  raw.command({"FLUSHALL"});
  Submission changed = a_job("c");
  changed.identity = "changed";
  queue.submit({a_job("b"), changed}, {});
  const auto results =
      queue.bring_back({{a_job("a", 5, 9), 2}, {a_job("b"), 1}, {a_job("c"), 0}}, {"run-1", "/out", "m1", before});
  CHECK(results == std::vector{BroughtBack::back, BroughtBack::known, BroughtBack::other_content});
  CHECK(view("b").attempts == 0);
  const Lease a = claim();
  CHECK(a.ref.id == "a");
  CHECK(a.attempt == 3);
  CHECK(a.priority == 5);
  CHECK(a.earlier);
  CHECK(a.before == std::vector{before});
  CHECK_THROWS_AS(queue.bring_back({{a_job("d"), 0}}, {"run-1", "/out", "m2", ""}), base::Error);
}

TEST_CASE_FIXTURE(Fixture, "a job that its set has lost waits again, one that ended does not") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  queue.complete(claim().ref, {"v", "s", 1});
  claim();
  raw.command({"DEL", test::kPrefix + "pend", test::kPrefix + "run", test::kPrefix + "done"});
  CHECK(queue.counts("run-1").drained());
  const auto results =
      queue.bring_back({{a_job("a"), 0}, {a_job("b"), 0}, {a_job("c"), 0}}, {"run-1", "/out", "m1", ""});
  CHECK(results == std::vector{BroughtBack::known, BroughtBack::back, BroughtBack::back});
  CHECK(queue.counts("run-1").pending == 2);
  CHECK(claim().ref.id == "b");
  CHECK(claim().ref.id == "c");
}

TEST_CASE_FIXTURE(Fixture, "a list is content until a job of its run is claimed or brought back") {
  const auto content = [&](const std::string& run) { return queue.counts(run).content; };
  CHECK(!content("run-1"));
  queue.set_content("run-1");
  CHECK(content("run-1"));
  CHECK(!content("run-2"));
  CHECK(queue.claim(request()).counts.content);
  queue.submit({a_job("a"), a_job("b")}, {});
  claim();
  CHECK(!content("run-1"));
  queue.set_content("run-1");
  queue.bring_back({{a_job("c"), 0}}, {"run-1", "/out", "m1", ""});
  CHECK(!content("run-1"));
  queue.set_content("run-1");
  raw.command({"FLUSHALL"});
  CHECK(!content("run-1"));
}

#include <doctest/doctest.h>

#include <atomic>
#include <set>

#include "queue/queue_fixture.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::contains;
using test::error_of;
using test::request;
using test::validated;
using Fixture = test::QueueFixture;

TEST_CASE_FIXTURE(Fixture, "submitting twice is a no-op, other content a conflict, overwriting replaces") {
  CHECK(queue.submit({a_job("a"), a_job("b")}, {}) == std::vector{Submitted::added, Submitted::added});
  CHECK(queue.submit({a_job("a")}, {}) == std::vector{Submitted::unchanged});
  Submission other = a_job("a");
  other.identity = "other";
  CHECK(queue.submit({a_job("c"), other}, {}) == std::vector{Submitted::added, Submitted::conflict});
  CHECK(view("c").state == JobState::unknown);  // all or none
  SubmitOptions overwrite;
  overwrite.overwrite = true;
  const Lease lease = claim();
  CHECK(lease.ref.id == "a");
  CHECK(queue.submit({other}, overwrite) == std::vector{Submitted::replaced});
  CHECK(!queue.renew(lease.ref, {}).held);  // its holder is fenced
  CHECK(!queue.complete(lease.ref, {"videos/a.mp4", "00", 1}));
  CHECK(queue.counts("").pending == 2);
}

TEST_CASE_FIXTURE(Fixture, "a submission beyond the bounds is refused") {
  Submission large = a_job("a");
  large.spec.assign(kMaxSpec + 1, 'x');
  Submission high = a_job("a", kMaxPriority + 1);
  for (const auto& bad : {large, high, a_job(""), a_job(std::string(129, 'x'))}) {
    CHECK_THROWS_AS(queue.submit({bad}, {}), base::Error);
  }
  CHECK(queue.counts("").pending == 0);
  std::vector<Submission> many;
  for (int i = 0; i < 450; ++i) many.push_back(a_job("j" + std::to_string(i)));
  many[0].spec.assign(kMaxSpec, 'x');
  CHECK(queue.submit(many, {}).size() == 450);
  CHECK(queue.counts("").pending == 450);
  CHECK(queue.list(JobState::pending).size() == 450);
}

TEST_CASE_FIXTURE(Fixture, "a done job belongs to its OUT") {
  SubmitOptions a;
  a.out = "/a";
  SubmitOptions b;
  b.out = "/b";
  queue.submit({a_job("x")}, a);
  CHECK(queue.complete(claim(request("/a")).ref, {"videos/x.mp4", "ab", 3}));
  CHECK(queue.submit({a_job("x")}, a) == std::vector{Submitted::unchanged});
  CHECK(queue.submit({a_job("x")}, {}) == std::vector{Submitted::unchanged});
  CHECK(queue.submit({a_job("x")}, b) == std::vector{Submitted::again});
  CHECK(view("x").state == JobState::pending);
  CHECK(view("x").video == "");
  CHECK(queue.complete(claim(request("/b")).ref, {"videos/x.mp4", "cd", 3}));
  CHECK(view("x").out == "/b");
}

TEST_CASE_FIXTURE(Fixture, "a queue is bound to one model until its work has ended") {
  queue.bind_model("m1");
  queue.bind_model("m2");  // it is empty
  queue.submit({a_job("a"), a_job("b")}, {});
  queue.bind_model("m1");
  CHECK_THROWS_AS(queue.bind_model("m2"), base::Error);
  CHECK_THROWS_AS(queue.claim(request("/out", "m2")), base::Error);
  SubmitOptions other;
  other.model = "m2";
  CHECK_THROWS_AS(queue.submit({a_job("c")}, other), base::Error);
  CHECK(view("c").state == JobState::unknown);
  queue.complete(claim().ref, {"v", "s", 1});
  CHECK_THROWS_AS(queue.bind_model("m2"), base::Error);
  queue.fail(claim().ref, {"job", "m", true, false});
  CHECK(queue.submit({a_job("c")}, other) == std::vector{Submitted::added});
  const auto claim_m1 = [&] { queue.claim(request("/out", "m1")); };
  CHECK(contains(error_of(base::ErrorKind::environment, claim_m1), "m2"));
  queue.cancel("c");
  queue.bind_model("m1");
}

TEST_CASE_FIXTURE(Fixture, "inbox entries become jobs or failed records with their reason") {
  for (const char* entry : {"good", "bad one", "good", "bad one"})
    raw.command({"RPUSH", test::kPrefix + "inbox", entry});
  raw.command({"RPUSH", test::kPrefix + "inbox", std::string(kMaxSpec + 1, 'x')});
  Submission known = a_job("taken");
  known.identity = "something else";
  queue.submit({known}, {});
  raw.command({"RPUSH", test::kPrefix + "inbox", "taken"});
  CHECK(queue.counts("").inbox == 6);
  CHECK(!queue.counts("").drained());
  const auto result = test::empty_inbox(queue);
  CHECK(result.added == 2);
  CHECK(result.rejected.size() == 4);  // the same one twice, the one that is too long, the one whose id is taken
  CHECK(queue.counts("").inbox == 0);
  CHECK(view("good").state == JobState::pending);
  const auto failed = queue.list(JobState::failed);
  REQUIRE(failed.size() == 3);
  std::set<std::string> reasons;
  for (const auto& record : failed) {
    CHECK(record.id.rfind("inbox-", 0) == 0);
    CHECK(record.error_kind == "job");
    reasons.insert(record.error);
    if (record.error.find("bytes") != std::string::npos) CHECK(queue.retry(record.id) == Retried::not_kept);
    if (record.error == "prompt: is missing") CHECK(queue.retry(record.id) == Retried::inbox);
  }
  CHECK(reasons.size() == 3);
  CHECK(raw.command({"LRANGE", test::kPrefix + "inbox", "0", "-1"}).at(0).text() == "bad one");
}

TEST_CASE_FIXTURE(Fixture, "several ranks empty one inbox without losing or doubling an entry") {
  constexpr int kEntries = 200;
  for (int i = 0; i < kEntries; ++i) raw.command({"RPUSH", test::kPrefix + "inbox", "e" + std::to_string(i)});
  std::atomic<std::size_t> added{0};
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&] {
      RedisQueue own(server.queue_options());
      while (own.counts("").inbox > 0) added += own.take_inbox(validated, "/out").added;
    });
  }
  for (auto& rank : ranks) rank.join();
  CHECK(added == kEntries);
  CHECK(queue.counts("").pending == kEntries);
}

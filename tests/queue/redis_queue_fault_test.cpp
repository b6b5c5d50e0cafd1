#include <doctest/doctest.h>

#include "queue/lossy_proxy.h"
#include "queue/queue_fixture.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::request;
using test::validated;
using Fixture = test::QueueFixture;

TEST_CASE_FIXTURE(Fixture, "what strangers do to the private keys is survived") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  claim();
  raw.command({"DEL", test::kPrefix + "job:a", test::kPrefix + "job:b"});
  expire("a");
  CHECK(queue.reap() == 1);
  CHECK(claim().ref.id == "c");
  raw.command({"SET", test::kPrefix + "inbox", "no list"});
  const std::string named = "key " + test::kPrefix + "inbox holds a string, the queue keeps a list there";
  for (const auto& call :
       std::vector<std::function<void()>>{[&] { queue.take_inbox(validated, ""); }, [&] { queue.counts(""); }}) {
    const auto error = test::redis_error_of(call);
    CHECK(error.fault() == RedisFault::refused);
    CHECK_MESSAGE(test::contains(error.what(), named), error.what());
  }
  for (const char* bad : {"", "a b", "a{b}", "x\n"}) {
    RedisQueueOptions options = server.queue_options();
    options.name = bad;
    CHECK_THROWS_AS(RedisQueue{options}, base::Error);
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "a job whose hash was deleted by hand leaves no trace in counts or line, and may come again") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  claim();
  claim();
  raw.command({"DEL", test::kPrefix + "job:a", test::kPrefix + "job:c"});
  CHECK(queue.counts("run-1").leased_by_run == 2);
  queue.submit({a_job("a"), a_job("c")}, {});
  CHECK(queue.counts("run-1").running == 1);
  CHECK(queue.counts("run-1").leased_by_run == 1);
  CHECK(queue.counts("run-1").pending == 2);
  CHECK(claim().ref.id == "a");
  CHECK(claim().ref.id == "c");
  raw.command({"DEL", test::kPrefix + "job:c"});
  expire("c");
  queue.reap();
  CHECK(queue.counts("run-1").leased_by_run == 2);
}

TEST_CASE_FIXTURE(Fixture, "a delayed job whose hash is gone does not come back without its content") {
  queue.submit({a_job("a", 0, 9)}, {});
  CHECK(queue.fail(claim().ref, {"storage", "m", false, false}) == JobState::delayed);
  raw.command({"DEL", test::kPrefix + "job:a"});
  due("a");
  CHECK(!queue.claim(request()).lease);
  CHECK(view("a").state == JobState::unknown);
  CHECK(queue.counts("").drained());
}

TEST_CASE_FIXTURE(Fixture, "of a line whose hashes are gone a claim drops a thousand, and the next goes on") {
  std::vector<Submission> jobs;
  for (int i = 0; i < 1500; ++i) jobs.push_back(a_job("j" + std::to_string(i)));
  queue.submit(jobs, {});
  queue.submit({a_job("last", -1)}, {});
  std::vector<std::string> words{"DEL"};
  for (const auto& job : jobs) words.push_back(test::kPrefix + "job:" + job.id);
  raw.command(words);
  const auto first = queue.claim(request());
  CHECK(!first.lease);
  CHECK(first.counts.pending == 501);
  CHECK(!first.counts.drained());
  CHECK(claim().ref.id == "last");
}

TEST_CASE_FIXTURE(Fixture, "a call whose reply was lost is made again, and answered as if it had been heard") {
  test::LossyProxy proxy(server.address().unix_path);
  RedisQueueOptions options = server.queue_options();
  options.redis.addresses[0].unix_path = proxy.path();
  RedisQueue rank(options);
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  int lost = 0;
  const auto losing = [&](auto call) {
    proxy.lose_next();
    auto answer = call();
    CHECK(proxy.lost() == ++lost);
    return answer;
  };
  const Lease a = *losing([&] { return rank.claim(request()).lease; });
  CHECK(a.ref.id == "a");
  CHECK(a.attempt == 1);
  CHECK(queue.counts("run-1").leased_by_run == 1);
  CHECK(losing([&] { return rank.renew(a.ref, {"denoise", 1, 2, {}}); }).held);
  CHECK(losing([&] { return rank.begin_publish(a.ref); }) == Fence::open);
  CHECK(losing([&] { return rank.complete(a.ref, {"v", "s", 1}); }));
  const Lease b = *losing([&] { return rank.claim(request()).lease; });
  CHECK(losing([&] { return rank.fail(b.ref, {"storage", "m", false, false}); }) == JobState::delayed);
  const Lease c = *losing([&] { return rank.claim(request()).lease; });
  CHECK(losing([&] { return rank.release(c.ref); }) == JobState::pending);
  CHECK(view("c").attempts == 0);
  CHECK(losing([&] { return rank.submit({a_job("d")}, {}); }).size() == 1);
  CHECK(view("d").state == JobState::pending);
  const Reply events = raw.command({"XRANGE", test::kPrefix + "events", "-", "+"});
  CHECK(events.array().size() == 4 + 3 + 3);  // submitted, running, and done, delayed, released: each once
}

TEST_CASE_FIXTURE(Fixture, "a full server refuses new jobs and lets those in hand end") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  const Lease a = claim();
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  queue.set_patience({100ms, {}});
  CHECK(test::redis_error_of([&] { queue.submit({a_job("d")}, {}); }).fault() == RedisFault::full);
  queue.set_patience({60s, {}});
  CHECK(queue.renew(a.ref, {"denoise", 1, 2, {}}).held);
  CHECK(queue.begin_publish(a.ref) == Fence::open);
  CHECK(queue.complete(a.ref, {"v", "s", 1}));
  CHECK(queue.fail(claim().ref, {"storage", "m", false, false}) == JobState::delayed);
  CHECK(queue.release(claim().ref) == JobState::pending);
}

TEST_CASE_FIXTURE(Fixture, "a server that is killed loses nothing that it acknowledged") {
  std::vector<Submission> jobs;
  for (int i = 0; i < 40; ++i) jobs.push_back(a_job("j" + std::to_string(i)));
  queue.submit(jobs, {});
  std::vector<LeaseRef> held;
  for (int i = 0; i < 10; ++i) held.push_back(claim().ref);
  for (int i = 0; i < 5; ++i) queue.complete(held[static_cast<std::size_t>(i)], {"v", "s", 1});
  server.kill();
  server.start();
  const Counts counts = queue.counts("run-1");
  CHECK(counts.done == 5);
  CHECK(counts.leased_by_run == 5);
  CHECK(counts.pending == 30);
  for (int i = 5; i < 10; ++i) CHECK(queue.complete(held[static_cast<std::size_t>(i)], {"v", "s", 1}));
  CHECK(std::stoll(claim().ref.token) == 11);
}

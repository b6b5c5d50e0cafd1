#include "nightreel/queue/redis_queue.h"

#include <doctest/doctest.h>
#include <nightreel/queue/lua_scripts.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "nightreel/base/error.h"
#include "nightreel/queue/job_view.h"
#include "queue/test_server.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::job;
using test::request;
using test::TestServer;

namespace {

const std::string kPrefix = "nightreel:{default}:";

// One server for the file; each test has a database of its own by flushing it.
struct Fixture {
  TestServer server;
  RedisQueue queue{server.queue_options()};
  Redis raw{server.options()};

  Lease claim(const ClaimRequest& with = request()) {
    auto result = queue.claim(with);
    REQUIRE(result.lease);
    return *result.lease;
  }
  JobView view(const std::string& id) { return queue.lookup({id}).at(0); }
  std::string field(const std::string& id, const std::string& name) {
    return raw.command({"HGET", kPrefix + "job:" + id, name}).text_or_empty();
  }
  // Server time cannot be moved, but what it is compared with can.
  void expire(const std::string& id) { raw.command({"ZADD", kPrefix + "run", "1", id}); }
  void due(const std::string& id) { raw.command({"ZADD", kPrefix + "delay", "1", id}); }
};

InboxJob validated(const std::string& entry) {
  if (entry.rfind("bad", 0) == 0) return {std::nullopt, "prompt: is missing"};
  return {job(entry), ""};
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "submitting twice is a no-op, other content a conflict, overwriting replaces") {
  CHECK(queue.submit({job("a"), job("b")}, {}) == std::vector{Submitted::added, Submitted::added});
  CHECK(queue.submit({job("a")}, {}) == std::vector{Submitted::unchanged});
  Submission other = job("a");
  other.identity = "other";
  CHECK(queue.submit({job("c"), other}, {}) == std::vector{Submitted::added, Submitted::conflict});
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
  Submission large = job("a");
  large.spec.assign(kMaxSpec + 1, 'x');
  Submission high = job("a", kMaxPriority + 1);
  for (const auto& bad : {large, high, job(""), job(std::string(129, 'x'))}) {
    CHECK_THROWS_AS(queue.submit({bad}, {}), base::Error);
  }
  CHECK(queue.counts("").pending == 0);
  std::vector<Submission> many;
  for (int i = 0; i < 450; ++i) many.push_back(job("j" + std::to_string(i)));
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
  queue.submit({job("x")}, a);
  CHECK(queue.complete(claim(request("/a")).ref, {"videos/x.mp4", "ab", 3}));
  CHECK(queue.submit({job("x")}, a) == std::vector{Submitted::unchanged});
  CHECK(queue.submit({job("x")}, {}) == std::vector{Submitted::unchanged});
  CHECK(queue.submit({job("x")}, b) == std::vector{Submitted::again});
  CHECK(view("x").state == JobState::pending);
  CHECK(view("x").video == "");
  CHECK(queue.complete(claim(request("/b")).ref, {"videos/x.mp4", "cd", 3}));
  CHECK(view("x").out == "/b");
}

TEST_CASE_FIXTURE(Fixture, "the highest priority comes first, then the first") {
  queue.submit({job("low", -1), job("n1"), job("high", 5), job("n2"), job("top", kMaxPriority)}, {});
  std::vector<std::string> order;
  for (int i = 0; i < 5; ++i) order.push_back(claim().ref.id);
  CHECK(order == std::vector<std::string>{"top", "high", "n1", "n2", "low"});
  CHECK(!queue.claim(request()).lease);
}

TEST_CASE_FIXTURE(Fixture, "a lease carries the job, and its fields are public") {
  queue.submit({job("a", 0, 2)}, {});
  const auto before = Clock::now();
  const Lease lease = claim();
  CHECK(lease.spec == job("a").spec);
  CHECK(lease.hash == "hash-a");
  CHECK(lease.attempt == 1);
  CHECK(lease.max_attempts == 2);
  CHECK(lease.deadline > before + 20s);
  CHECK(lease.deadline < before + 30s);
  CHECK(queue.renew(lease.ref, {"denoise", 3, 20, 12.5}).held);
  const JobView seen = view("a");
  CHECK(seen.state == JobState::running);
  CHECK(seen.rank == 0);
  CHECK(seen.host == "node");
  CHECK(seen.progress.step == 3);
  CHECK(seen.progress.eta_s == 12.5);
  CHECK(queue.begin_publish(lease.ref) == Fence::open);
  CHECK(queue.complete(lease.ref, {"videos/a.mp4", "abcd", 7}));
  CHECK(queue.complete(lease.ref, {"videos/a.mp4", "abcd", 7}));  // its first reply may have been lost
  CHECK(field("a", "state") == "done");
  CHECK(field("a", "video") == "videos/a.mp4");
  CHECK(field("a", "sha256") == "abcd");
  CHECK(field("a", "attempts") == "1");
  const Reply events = raw.command({"XRANGE", kPrefix + "events", "-", "+"});
  std::vector<std::string> names;
  for (const Reply& event : events.array()) names.push_back(event.at(1).at(1).text());
  CHECK(names == std::vector<std::string>{"submitted", "running", "done"});
}

TEST_CASE_FIXTURE(Fixture, "a wrong token changes nothing") {
  queue.submit({job("a")}, {});
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
  queue.submit({job("a")}, {});
  const Lease lease = claim();
  expire("a");
  CHECK(!queue.renew(lease.ref, {}).held);
  CHECK(queue.begin_publish(lease.ref) == Fence::stale);
  CHECK(queue.complete(lease.ref, {"v", "s", 1}));
}

TEST_CASE_FIXTURE(Fixture, "a claim sent twice with one nonce gives one job") {
  queue.submit({job("a"), job("b")}, {});
  Script script("claim", lua::k_claim);
  const auto claim_raw = [&](const std::string& worker, const std::string& nonce) {
    return raw.eval(script, kPrefix, {worker, nonce, "30000", "3", "m1", "/out", "r", "h", "0", "1"});
  };
  const Reply first = claim_raw("w", "n1");
  const Reply again = claim_raw("w", "n1");
  CHECK(first.at(1).text() == "a");
  CHECK(again.at(1).text() == "a");
  CHECK(again.at(2).text() == first.at(2).text());
  CHECK(again.at(3).integer() == 1);
  expire("a");
  CHECK(claim_raw("w", "n1").at(2).text() != first.at(2).text());  // too late: a new claim
  CHECK(claim_raw("w", "n2").at(1).text() == "b");
  CHECK(queue.counts("r").leased_by_run == 2);
}

TEST_CASE_FIXTURE(Fixture, "a failure waits longer each time, the last allowed one is final") {
  queue.submit({job("a")}, {});
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const Lease lease = claim();
    CHECK(lease.attempt == attempt);
    const auto state = queue.fail(lease.ref, {"storage", "disk \x1b[2J full", false, false});
    CHECK(state == (attempt < 3 ? JobState::delayed : JobState::failed));
    CHECK(queue.fail(lease.ref, {"storage", "again", false, false}) == state);
    if (attempt == 1) {
      const auto nothing = queue.claim(request()).nothing;
      CHECK(nothing.delayed == 1);
      REQUIRE(nothing.next_change);
      CHECK(*nothing.next_change <= 60ms);
      std::this_thread::sleep_for(*nothing.next_change + 2ms);
    } else if (attempt == 2) {
      due("a");
    }
  }
  CHECK(view("a").error_kind == "storage");
  CHECK(view("a").error == "disk \\x1b[2J full");
  CHECK(queue.counts("").failed == 1);
  CHECK(queue.submit({job("a")}, {}) == std::vector{Submitted::unchanged});  // failed until `retry`
  CHECK(!queue.claim(request()).lease);
}

TEST_CASE_FIXTURE(Fixture, "a permanent failure is final at once") {
  queue.submit({job("a")}, {});
  CHECK(queue.fail(claim().ref, {"job", "height: 65", true, false}) == JobState::failed);
  CHECK(!view("a").poison);
}

TEST_CASE_FIXTURE(Fixture, "a released job keeps its place and its attempt") {
  queue.submit({job("a"), job("b")}, {});
  const Lease lease = claim();
  CHECK(queue.release(lease.ref) == JobState::pending);
  CHECK(queue.release(lease.ref) == JobState::pending);
  CHECK(view("a").attempts == 0);
  const Lease again = claim();
  CHECK(again.ref.id == "a");
  CHECK(again.attempt == 1);
}

TEST_CASE_FIXTURE(Fixture, "a job that is to be alone stays so until it has ended") {
  queue.submit({job("a", 0, 4)}, {});
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
  queue.submit({job("a", 0, 9)}, {});
  CHECK(queue.fail(claim().ref, {"numeric", "NaN", false, false}) == JobState::delayed);
  due("a");
  CHECK(queue.fail(claim().ref, {"storage", "m", false, false}) == JobState::delayed);
  due("a");
  CHECK(queue.fail(claim().ref, {"numeric", "NaN", false, false}) == JobState::failed);
  queue.retry("a");
  CHECK(queue.fail(claim().ref, {"numeric", "NaN", false, false}) == JobState::delayed);
}

TEST_CASE_FIXTURE(Fixture, "lost leases use attempts up, and the last one makes the job poison") {
  queue.submit({job("a", 0, 2), job("b")}, {});
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
  queue.submit({job("a"), job("b"), job("c")}, {});
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

TEST_CASE_FIXTURE(Fixture, "a claim may ask for more than one pending job") {
  queue.submit({job("a"), job("b")}, {});
  ClaimRequest greedy = request();
  greedy.min_pending = 2;
  CHECK(queue.claim(greedy).lease);
  const auto second = queue.claim(greedy);
  CHECK(!second.lease);
  CHECK(second.nothing.pending == 1);
  CHECK(second.nothing.running == 1);
}

TEST_CASE_FIXTURE(Fixture, "a queue is bound to one model until its work has ended") {
  queue.bind_model("m1");
  queue.bind_model("m2");  // it is empty
  queue.submit({job("a"), job("b")}, {});
  queue.bind_model("m1");
  CHECK_THROWS_AS(queue.bind_model("m2"), base::Error);
  CHECK_THROWS_AS(queue.claim(request("/out", "m2")), base::Error);
  SubmitOptions other;
  other.model = "m2";
  CHECK_THROWS_AS(queue.submit({job("c")}, other), base::Error);
  CHECK(view("c").state == JobState::unknown);
  queue.complete(claim().ref, {"v", "s", 1});
  CHECK_THROWS_AS(queue.bind_model("m2"), base::Error);
  queue.fail(claim().ref, {"job", "m", true, false});
  CHECK(queue.submit({job("c")}, other) == std::vector{Submitted::added});
  try {
    queue.claim(request("/out", "m1"));
    FAIL("claimed");
  } catch (const base::Error& e) {
    CHECK(e.kind() == base::ErrorKind::environment);
    CHECK(std::string(e.what()).find("m2") != std::string::npos);
  }
  queue.cancel("c");
  queue.bind_model("m1");
}

TEST_CASE_FIXTURE(Fixture, "inbox entries become jobs or failed records with their reason") {
  for (const char* entry : {"good", "bad one", "good", "bad one"}) raw.command({"RPUSH", kPrefix + "inbox", entry});
  raw.command({"RPUSH", kPrefix + "inbox", std::string(kMaxSpec + 1, 'x')});
  Submission known = job("taken");
  known.identity = "something else";
  queue.submit({known}, {});
  raw.command({"RPUSH", kPrefix + "inbox", "taken"});
  CHECK(queue.counts("").inbox == 6);
  CHECK(!queue.counts("").drained());
  const auto result = queue.take_inbox(validated, "/out");
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
  CHECK(raw.command({"LRANGE", kPrefix + "inbox", "0", "-1"}).at(0).text() == "bad one");
}

TEST_CASE_FIXTURE(Fixture, "several ranks empty one inbox without losing or doubling an entry") {
  constexpr int kEntries = 200;
  for (int i = 0; i < kEntries; ++i) raw.command({"RPUSH", kPrefix + "inbox", "e" + std::to_string(i)});
  std::atomic<std::size_t> added{0};
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&] {
      RedisQueue own(server.queue_options());
      added += own.take_inbox(validated, "/out").added;
    });
  }
  for (auto& rank : ranks) rank.join();
  CHECK(added == kEntries);
  CHECK(queue.counts("").pending == kEntries);
}

TEST_CASE_FIXTURE(Fixture, "what strangers do to the private keys is survived") {
  queue.submit({job("a"), job("b"), job("c")}, {});
  claim();
  raw.command({"DEL", kPrefix + "job:a", kPrefix + "job:b"});
  expire("a");
  CHECK(queue.reap() == 1);
  CHECK(claim().ref.id == "c");
  raw.command({"SET", kPrefix + "inbox", "no list"});
  CHECK_THROWS_AS(queue.take_inbox(validated, ""), RedisError);
  for (const char* bad : {"", "a b", "a{b}", "x\n"}) {
    RedisQueueOptions options = server.queue_options();
    options.name = bad;
    CHECK_THROWS_AS(RedisQueue{options}, base::Error);
  }
}

TEST_CASE_FIXTURE(Fixture, "a full server refuses new jobs and lets those in hand end") {
  queue.submit({job("a"), job("b"), job("c")}, {});
  const Lease a = claim();
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  queue.set_patience({100ms, {}});
  try {
    queue.submit({job("d")}, {});
    FAIL("accepted");
  } catch (const RedisError& e) {
    CHECK(e.fault() == RedisFault::full);
  }
  CHECK(queue.renew(a.ref, {"denoise", 1, 2, {}}).held);
  CHECK(queue.begin_publish(a.ref) == Fence::open);
  CHECK(queue.complete(a.ref, {"v", "s", 1}));
  CHECK(queue.fail(claim().ref, {"storage", "m", false, false}) == JobState::delayed);
  CHECK(queue.release(claim().ref) == JobState::pending);
}

TEST_CASE_FIXTURE(Fixture, "a server that is killed loses nothing that it acknowledged") {
  std::vector<Submission> jobs;
  for (int i = 0; i < 40; ++i) jobs.push_back(job("j" + std::to_string(i)));
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

TEST_CASE_FIXTURE(Fixture, "status --json has the agreed shape") {
  queue.submit({job("r"), job("f"), job("p")}, {});
  const Lease r = claim();
  queue.renew(r.ref, {"denoise", 3, 20, 7.5});
  queue.fail(claim().ref, {"job", "too large", true, false});
  raw.command({"RPUSH", kPrefix + "inbox", "x"});
  const auto status = status_json("default", queue.counts(""), jobs_to_show(queue, false));
  const auto want = nlohmann::json::parse(R"({"queue":"default","pending":2,"delayed":0,"running":1,"done":0,
    "failed":1,"cancelled":0,"jobs":[
    {"id":"r","state":"running","attempts":1,"rank":0,"host":"node","step":3,"steps":20,"eta_s":7.5,"error":null},
    {"id":"f","state":"failed","attempts":1,"rank":0,"host":"node","step":null,"steps":null,"eta_s":null,
     "error":{"kind":"job","message":"too large"}}]})");
  CHECK(status == want);
  CHECK(jobs_to_show(queue, true).size() == 3);
}

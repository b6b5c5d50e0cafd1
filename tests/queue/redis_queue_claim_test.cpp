#include <doctest/doctest.h>
#include <nightreel/queue/lua_scripts.h>

#include <nlohmann/json.hpp>

#include "nightreel/queue/job_view.h"
#include "queue/queue_fixture.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::request;
using Fixture = test::QueueFixture;

TEST_CASE_FIXTURE(Fixture, "the highest priority comes first, then the first") {
  queue.submit({a_job("low", -1), a_job("n1"), a_job("high", 5), a_job("n2"), a_job("top", kMaxPriority)}, {});
  std::vector<std::string> order;
  for (int i = 0; i < 5; ++i) order.push_back(claim().ref.id);
  CHECK(order == std::vector<std::string>{"top", "high", "n1", "n2", "low"});
  CHECK(!queue.claim(request()).lease);
}

TEST_CASE_FIXTURE(Fixture, "a job that is wanted only where no other waits gives way to the next, not for ever") {
  queue.submit({a_job("first", 1), a_job("second"), a_job("third")}, {});
  ClaimRequest wanted = request();
  wanted.except = "first";
  for (const char* id : {"second", "third", "first"}) CHECK(claim(wanted).ref.id == id);
  CHECK(!queue.claim(wanted).lease);
}

TEST_CASE_FIXTURE(Fixture, "a lease carries the job, and its fields are public") {
  queue.submit({a_job("a", 0, 2)}, {});
  const auto before = Clock::now();
  const Lease lease = claim();
  const auto after = Clock::now();
  CHECK(lease.spec == a_job("a").spec);
  CHECK(lease.hash == "hash-a");
  CHECK(lease.attempt == 1);
  CHECK(lease.max_attempts == 2);
  CHECK(lease.deadline > before + 20s);
  CHECK(lease.deadline < after + 30s);
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
  const Reply events = raw.command({"XRANGE", test::kPrefix + "events", "-", "+"});
  std::vector<std::string> names;
  for (const Reply& event : events.array()) names.push_back(event.at(1).at(1).text());
  CHECK(names == std::vector<std::string>{"submitted", "running", "done"});
}

TEST_CASE_FIXTURE(Fixture, "a claim sent twice with one nonce gives one job") {
  queue.submit({a_job("a"), a_job("b")}, {});
  Script script("claim", lua::k_claim);
  const auto claim_raw = [&](const std::string& worker, const std::string& nonce) {
    return raw.eval(script, test::kPrefix, {worker, nonce, "30000", "3", "m1", "/out", "r", "h", "0", "1", "", "0"});
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

TEST_CASE_FIXTURE(Fixture, "a lease tells whether its job was ever claimed before, whatever became of it since") {
  queue.submit({a_job("a", 0, 4)}, {});
  const Lease first = claim();
  CHECK(!first.earlier);
  queue.release(first.ref);
  const Lease second = claim();
  CHECK(second.attempt == 1);
  CHECK(second.earlier);
  queue.fail(second.ref, {"job", "m", true, false});
  queue.retry("a");
  CHECK(claim().earlier);
  Submission other = a_job("a", 0, 4);
  other.identity = "other";
  CHECK(queue.submit({other}, {true, "", ""})[0] == Submitted::replaced);
  CHECK(claim().earlier);
}

TEST_CASE_FIXTURE(Fixture, "a claim may ask for more than one pending job") {
  queue.submit({a_job("a"), a_job("b")}, {});
  ClaimRequest greedy = request();
  greedy.min_pending = 2;
  CHECK(queue.claim(greedy).lease);
  const auto second = queue.claim(greedy);
  CHECK(!second.lease);
  CHECK(second.counts.pending == 1);
  CHECK(second.counts.running == 1);
}

TEST_CASE_FIXTURE(Fixture, "a claim that finds nothing says what there is") {
  queue.submit({a_job("a"), a_job("b"), a_job("c")}, {});
  claim();
  const Lease b = claim();
  queue.fail(b.ref, {"storage", "m", false, false});
  raw.command({"ZADD", test::kPrefix + "delay", "XX", "99999999999999", "b"});  // however busy the machine is
  queue.complete(claim().ref, {"v", "s", 1});
  raw.command({"RPUSH", test::kPrefix + "inbox", "entry"});
  ClaimRequest other = request();
  other.run = "run-2";
  for (const auto& [who, mine] : {std::pair{request(), 1}, {other, 0}}) {
    const Counts found = queue.claim(who).counts;
    CHECK(found.inbox == 1);
    CHECK(found.pending == 0);
    CHECK(found.delayed == 1);
    CHECK(found.running == 1);
    CHECK(found.done == 1);
    CHECK(found.leased_by_run == mine);
    CHECK(!found.drained());
  }
}

TEST_CASE_FIXTURE(Fixture, "each run's leases are counted, however they begin and end") {
  ClaimRequest other = request();
  other.run = "run-2";
  const auto leased = [&](std::int64_t first, std::int64_t second) {
    CHECK(queue.counts("run-1").leased_by_run == first);
    CHECK(queue.counts("run-2").leased_by_run == second);
    CHECK(queue.counts("none").leased_by_run == 0);
    CHECK(queue.counts("").leased_by_run == 0);
  };
  queue.submit({a_job("a"), a_job("b"), a_job("c"), a_job("d"), a_job("e")}, {});
  const Lease a = claim();
  const Lease b = claim(other);
  const Lease c = claim(other);
  leased(1, 2);
  queue.complete(a.ref, {"v", "s", 1});
  queue.complete(a.ref, {"v", "s", 1});
  queue.release(b.ref);
  leased(0, 1);
  queue.fail(c.ref, {"job", "m", true, false});
  leased(0, 0);
  claim();  // b
  claim(other);
  expire("b");
  queue.reap();
  leased(0, 1);
  queue.cancel("d");
  expire("d");
  queue.reap();
  leased(0, 0);
  claim();
  Submission changed = a_job("b");
  changed.identity = "changed";
  SubmitOptions overwrite;
  overwrite.overwrite = true;
  queue.submit({changed}, overwrite);  // fences its holder
  leased(0, 0);
}

TEST_CASE_FIXTURE(Fixture, "status --json has the agreed shape") {
  queue.submit({a_job("r"), a_job("f"), a_job("p")}, {});
  const Lease r = claim();
  queue.renew(r.ref, {"denoise", 3, 20, 7.5});
  queue.fail(claim().ref, {"job", "too large", true, false});
  raw.command({"RPUSH", test::kPrefix + "inbox", "x"});
  const auto status = status_json("default", queue.counts(""), jobs_to_show(queue, false));
  const auto want = nlohmann::json::parse(R"({"queue":"default","pending":2,"delayed":0,"running":1,"done":0,
    "failed":1,"cancelled":0,"jobs":[
    {"id":"r","state":"running","attempts":1,"rank":0,"host":"node","step":3,"steps":20,"eta_s":7.5,"error":null},
    {"id":"f","state":"failed","attempts":1,"rank":0,"host":"node","step":null,"steps":null,"eta_s":null,
     "error":{"kind":"job","message":"too large"}}]})");
  CHECK(status == want);
  CHECK(jobs_to_show(queue, true).size() == 3);
}

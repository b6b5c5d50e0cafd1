// The inbox in turns: bounded, whoever floods it; each refused entry has its record and touches no other.
#include "nightreel/queue/inbox_taker.h"

#include <doctest/doctest.h>

#include <atomic>

#include "nightreel/base/hash.h"
#include "nightreel/queue/inbox_entry.h"
#include "queue/queue_fixture.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::comes;
using test::contains;
using test::request;
using test::validated;

namespace {

struct Fixture : test::QueueFixture {
  static InboxJob read(const std::string& entry) { return read_inbox_entry(entry, {"", ""}); }
  void push(const std::vector<std::string>& entries) {
    std::vector<std::string> words{"RPUSH", test::kPrefix + "inbox"};
    words.insert(words.end(), entries.begin(), entries.end());
    raw.command(words);
  }
  void push_garbage(int count) {
    for (int i = 0; i < count;) {
      std::vector<std::string> some;
      for (int n = 0; n < 1000 && i < count; ++n) some.push_back("garbage " + std::to_string(i++));
      push(some);
    }
  }
  std::int64_t left() { return queue.counts("").inbox; }
  static std::string record_of(const std::string& entry) { return "inbox-" + base::sha256_hex(entry).substr(0, 16); }

  InboxParts parts() const {
    InboxParts out;
    auto own = std::make_unique<RedisQueue>(server.queue_options());
    own->set_patience({10s, out.stop, true});
    out.queue = std::move(own);
    out.validate = read;
    out.out = "/out";
    out.interval = 20ms;
    return out;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a turn takes so many entries and bytes, however long the inbox is") {
  push_garbage(300);
  CHECK(queue.take_inbox(read, "/out").rejected.empty());  // it has looked at some
  CHECK(left() == 300);
  const auto turn = queue.take_inbox(read, "/out");
  CHECK(turn.more);
  CHECK(turn.rejected.size() == 64);
  CHECK(left() == 236);
  raw.command({"DEL", test::kPrefix + "inbox"});
  queue.take_inbox(read, "/out");
  for (int i = 0; i < 12; ++i) push({std::string(200'000, static_cast<char>('a' + i))});
  queue.take_inbox(read, "/out");
  CHECK(queue.take_inbox(read, "/out").rejected.size() == 6);  // a MiB is full then
  test::empty_inbox(queue, read);
  CHECK(left() == 0);
}

TEST_CASE_FIXTURE(Fixture, "entries that are too long are taken one by one, and not kept") {
  for (int i = 0; i < 5; ++i) push({std::string(3 << 20, static_cast<char>('a' + i))});
  queue.take_inbox(read, "/out");
  for (int i = 0; i < 5; ++i) {
    CHECK(left() == 5 - i);
    const auto turn = queue.take_inbox(read, "/out");
    REQUIRE(turn.rejected.size() == 1);
    CHECK(contains(turn.rejected[0].reason, "3145728 bytes: at most 262144 are allowed"));
    CHECK(field(turn.rejected[0].id, "spec").empty());
  }
  CHECK(queue.list(JobState::failed).size() == 5);
}

TEST_CASE_FIXTURE(Fixture, "of ranks at one inbox one gets on, and another when that one is silent") {
  push_garbage(200);
  const std::string taker = test::kPrefix + "inbox_taker";
  raw.command({"SET", taker, "another"});
  for (int i = 0; i < 3; ++i) CHECK(!queue.take_inbox(read, "/out").more);
  CHECK(left() == 200);
  raw.command({"PEXPIRE", taker, "1"});  // as it does by itself after two seconds
  CHECK(comes([&] { return queue.take_inbox(read, "/out").more; }));
  CHECK(raw.command({"PTTL", taker}).integer() <= 2000);
  CHECK(test::empty_inbox(queue, read).rejected.size() == 200);
  CHECK(raw.command({"EXISTS", taker}).integer() == 0);
}

TEST_CASE_FIXTURE(Fixture, "what came between a look and its turn is not taken for what was looked at") {
  push({"bad 1", "bad 2"});
  CHECK(queue.take_inbox(validated, "/out").more);
  raw.command({"LPOP", test::kPrefix + "inbox"});
  push({"good"});
  const auto all = test::empty_inbox(queue);
  CHECK(all.added == 1);
  REQUIRE(all.rejected.size() == 1);
  CHECK(field(all.rejected[0].id, "spec") == "bad 2");
}

TEST_CASE_FIXTURE(Fixture, "equal entries that are refused have one record and one event") {
  push({"{", "{", "[]", "{"});
  CHECK(test::empty_inbox(queue, read).rejected.size() == 4);
  CHECK(queue.list(JobState::failed).size() == 2);
  CHECK(raw.command({"XLEN", test::kPrefix + "events"}).integer() == 2);
}

TEST_CASE_FIXTURE(Fixture, "a refused entry keeps its sender's id where that is legal and free") {
  const std::string misspelt = R"({"id": "cat", "promt": "x"})";
  const std::string again = R"({"id": "cat", "promt": "y"})";
  const std::string hidden = R"({"id": ".cat", "prompt": "x"})";
  push({misspelt, again, hidden, misspelt});
  test::empty_inbox(queue, read);
  CHECK(view("cat").state == JobState::failed);
  CHECK(contains(view("cat").error, "promt: unknown field"));
  CHECK(field("cat", "spec") == misspelt);
  CHECK(view(record_of(again)).state == JobState::failed);
  CHECK(view(record_of(hidden)).state == JobState::failed);
  CHECK(queue.counts("").failed == 3);
  CHECK(queue.retry("cat") == Retried::inbox);
  CHECK(view("cat").state == JobState::unknown);
  test::empty_inbox(queue, read);

  push({R"({"id": "cat", "prompt": "x"})"});  // mended: a record of a refused entry is in no job's way
  CHECK(test::empty_inbox(queue, read).added == 1);
  CHECK(view("cat").state == JobState::pending);
  CHECK(queue.counts("").failed == 2);
  push({misspelt});
  test::empty_inbox(queue, read);
  CHECK(view("cat").state == JobState::pending);
  CHECK(view(record_of(misspelt)).state == JobState::failed);
}

TEST_CASE_FIXTURE(Fixture, "a refused entry touches no record of a job, whatever its id") {
  const std::string id = record_of("garbage!");
  queue.submit({a_job(id), a_job(id + "-rejected"), a_job("mine")}, {});  // as version 0.1 took them
  for (int i = 0; i < 3; ++i) queue.complete(claim().ref, {"videos/x.mp4", "ab", 1});
  push({"garbage!", R"({"id": "mine", "promt": "x"})", R"({"id": "mine", "prompt": "other"})"});
  CHECK(test::empty_inbox(queue, read).rejected.size() == 3);
  for (const auto& one : {id, id + "-rejected", std::string("mine")}) {
    CHECK(view(one).state == JobState::done);
    CHECK(view(one).sha256 == "ab");
  }
  CHECK(queue.counts("").done == 3);
  CHECK(view(id + "-rejected-rejected").state == JobState::failed);
  CHECK(queue.counts("").failed == 3);
}

TEST_CASE_FIXTURE(Fixture, "beside a flood claims go on, and what follows it is taken") {
  constexpr int kGarbage = 20'000;
  push_garbage(kGarbage);
  push({R"({"id": "last", "prompt": "x"})"});
  queue.submit({a_job("a"), a_job("b")}, {});
  std::atomic<bool> go_on{false};
  InboxParts gated = parts();
  gated.validate = [&, seen = 0](const std::string& entry) mutable {
    if (++seen == 1000) CHECK(comes([&] { return go_on.load(); }));
    return read(entry);
  };
  InboxTaker taker(std::move(gated));
  CHECK(comes([&] { return taker.found().rejected_in_all > 0; }));
  const Lease a = claim();
  CHECK(queue.renew(a.ref, {}).held);
  CHECK(queue.complete(a.ref, {"v", "s", 1}));
  CHECK(left() > 0);
  go_on = true;
  CHECK(comes([&] { return view("last").state == JobState::pending; }, 300s));
  const auto found = taker.found();
  CHECK(found.rejected_in_all == kGarbage);
  CHECK(found.rejected.size() == 100);
  CHECK(queue.counts("").failed == kGarbage);
  CHECK(!taker.stopped());
}

TEST_CASE_FIXTURE(Fixture, "a flood is let go of at once") {
  push_garbage(20'000);
  InboxParts slow = parts();
  slow.validate = [](const std::string& entry) {
    std::this_thread::sleep_for(1ms);
    return read(entry);
  };
  auto taker = std::make_unique<InboxTaker>(std::move(slow));
  CHECK(comes([&] { return taker->found().rejected_in_all > 0; }));
  taker.reset();
  CHECK(left() > 0);
}

TEST_CASE_FIXTURE(Fixture, "an inbox that is no list is named; a server that is away is waited for") {
  InboxTaker waiting(parts());
  server.kill();
  server.start();
  push({"{"});
  CHECK(comes([&] { return waiting.found().rejected_in_all == 1; }));
  waiting.check();
  raw.command({"SET", test::kPrefix + "inbox", "x"});
  CHECK(comes([&] { return waiting.stopped(); }));
  const auto thrown = test::thrown_by([&] { waiting.check(); });
  CHECK(thrown.kind == base::ErrorKind::queue);
  CHECK(contains(thrown.message, test::kPrefix + "inbox holds a string"));
}

TEST_CASE_FIXTURE(Fixture, "a full server takes no entries, and refuses none") {
  push({"{", R"({"id": "a", "prompt": "x"})"});
  queue.take_inbox(read, "/out");
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  queue.set_patience({100ms, {}});
  CHECK(test::redis_error_of([&] { queue.take_inbox(read, "/out"); }).fault() == RedisFault::full);
  CHECK(left() == 2);
  raw.command({"CONFIG", "SET", "maxmemory", "0"});
  queue.set_patience({60s, {}});
  CHECK(test::empty_inbox(queue, read).added == 1);
}

TEST_CASE_FIXTURE(Fixture, "a claim for what is more urgent gets that or nothing") {
  queue.submit({a_job("low", -3), a_job("normal"), a_job("high", 7)}, {});
  CHECK(queue.highest_pending() == 7);
  const auto above = [&](std::int64_t priority) {
    ClaimRequest wanted = request();
    wanted.above = priority;
    return queue.claim(wanted).lease;
  };
  CHECK(!above(7));
  CHECK(above(6)->ref.id == "high");
  CHECK(queue.highest_pending() == 0);
  CHECK(!above(0));
  CHECK(above(-1)->ref.id == "normal");
  CHECK(queue.highest_pending() == -3);
  CHECK(above(-kMaxPriority)->ref.id == "low");
  CHECK(!queue.highest_pending());
}

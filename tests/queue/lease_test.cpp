#include "nightreel/queue/lease.h"

#include <doctest/doctest.h>

#include <atomic>

#include "queue/test_server.h"
#include "support/comes.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::comes;
using test::request;
using test::TestServer;

namespace {

constexpr auto kTtl = 30s;  // no machine is so busy that it runs out by itself
constexpr auto kTurn = 20ms;
constexpr auto kForever = std::chrono::hours(1);

std::unique_ptr<LeaseKeeper> keeper_over(RedisQueueOptions options, std::chrono::milliseconds patience) {
  const base::CancelToken stop;
  auto connection = std::make_unique<RedisQueue>(options);
  connection->set_patience({patience, stop});
  return std::make_unique<LeaseKeeper>(std::move(connection), kTurn, stop, base::Logger());
}

struct Kept {
  TestServer server;
  RedisQueue queue{server.queue_options(kTtl)};
  Redis raw{server.options()};
  std::unique_ptr<LeaseKeeper> keeper = keeper_over(server.queue_options(kTtl), 10s);

  Lease claim(const std::string& id) {
    queue.submit({a_job(id)}, {});
    return queue.claim(request()).lease.value();
  }
  bool is_seen(const LeaseRef& ref, bool LeaseState::*flag) {
    return comes([&] { return keeper->look(ref).*flag; });
  }
  /// When the server lets the lease run out, in ms of its clock.
  std::int64_t end_of(const std::string& id) {
    return raw.command({"ZSCORE", "nightreel:{default}:run", id}).integer();
  }
  void await_renewals(const std::string& id, int count) {
    for (int i = 0; i < count; ++i) {
      const std::int64_t before = end_of(id);
      REQUIRE(comes([&] { return end_of(id) > before; }));
    }
  }
};

}  // namespace

TEST_CASE_FIXTURE(Kept, "a held lease is renewed past its first end, and progress reaches the queue") {
  const Lease lease = claim("a");
  const std::int64_t first = end_of("a");
  keeper->hold(lease, kForever);
  keeper->progress(lease.ref, {"denoise", 4, 20, {}}, kForever);
  CHECK(comes([&] { return end_of("a") > first + 100; }));
  CHECK(comes([&] { return keeper->look(lease.ref).deadline > lease.deadline + 100ms; }));
  CHECK(queue.reap() == 0);
  CHECK(!keeper->look(lease.ref).lost);
  CHECK(queue.lookup({"a"})[0].progress.step == 4);
  keeper->drop(lease.ref);
  CHECK(keeper->look(lease.ref).lost);
  CHECK(queue.complete(lease.ref, {"v", "s", 1}));
}

TEST_CASE_FIXTURE(Kept, "a job without progress loses its lease, one with progress beside it does not") {
  const Lease stuck = claim("stuck");
  keeper->hold(stuck, 150ms);
  const Lease moving = claim("moving");
  keeper->hold(moving, kForever);
  await_renewals("moving", 1);
  CHECK(is_seen(stuck.ref, &LeaseState::stalled));
  await_renewals("moving", 2);  // the turn in which it stalled is over
  const std::int64_t last = end_of("stuck");
  await_renewals("moving", 3);
  CHECK(end_of("stuck") == last);
  raw.command({"ZADD", "nightreel:{default}:run", "1", "stuck"});  // that time comes
  CHECK(queue.reap() == 1);
  CHECK(queue.lookup({"stuck"})[0].state == JobState::pending);
  CHECK(queue.lookup({"moving"})[0].state == JobState::running);
  CHECK(!keeper->look(moving.ref).stalled);
  CHECK(!keeper->look(moving.ref).lost);
  keeper->progress(stuck.ref, {"denoise", 1, 20, {}}, kForever);  // too late
  CHECK(is_seen(stuck.ref, &LeaseState::lost));
}

TEST_CASE_FIXTURE(Kept, "a request to cancel is seen, and a job that was taken away is lost") {
  const Lease a = claim("a");
  keeper->hold(a, kForever);
  queue.cancel("a");
  CHECK(is_seen(a.ref, &LeaseState::cancel_requested));
  CHECK(!keeper->look(a.ref).lost);
  const Lease b = claim("b");
  keeper->hold(b, kForever);
  Submission other = a_job("b");
  other.identity = "other";
  SubmitOptions overwrite;
  overwrite.overwrite = true;
  queue.submit({other}, overwrite);
  CHECK(is_seen(b.ref, &LeaseState::lost));
}

TEST_CASE_FIXTURE(Kept, "with the server away the local deadline ends the lease") {
  constexpr auto kShort = 600ms;
  RedisQueue brief(server.queue_options(kShort));
  keeper = keeper_over(server.queue_options(kShort), 50ms);
  queue.submit({a_job("a")}, {});
  const Lease lease = brief.claim(request()).lease.value();
  keeper->hold(lease, kForever);
  server.signal(SIGSTOP);
  CHECK(is_seen(lease.ref, &LeaseState::lost));
  server.signal(SIGCONT);
  CHECK(keeper->look(lease.ref).deadline < Clock::now() + kShort);
}

TEST_CASE_FIXTURE(Kept, "with the server back in time the lease goes on, and a keeper's end waits for no server") {
  RedisQueueOptions patient = server.queue_options(kTtl);
  keeper = keeper_over(patient, 50ms);
  Lease lease = claim("a");
  keeper->hold(lease, kForever);
  await_renewals("a", 1);
  const auto freeze = [&] {  // until a renewal hangs: ten turns without one
    server.signal(SIGSTOP);
    auto last = keeper->look(lease.ref).deadline;
    auto since = Clock::now();
    return comes([&] {
      if (keeper->look(lease.ref).deadline != last) since = Clock::now();
      last = keeper->look(lease.ref).deadline;
      return Clock::now() - since > 10 * kTurn;
    });
  };
  CHECK(freeze());
  const auto frozen = keeper->look(lease.ref).deadline;
  server.signal(SIGCONT);
  CHECK(comes([&] { return keeper->look(lease.ref).deadline > frozen; }));
  CHECK(!keeper->look(lease.ref).lost);
  patient.redis.command_timeout = 60s;
  lease.deadline = keeper->look(lease.ref).deadline;
  keeper = keeper_over(patient, 60s);
  keeper->hold(lease, kForever);
  await_renewals("a", 1);
  CHECK(freeze());
  const auto stopping = Clock::now();
  keeper.reset();
  CHECK(Clock::now() - stopping < 30s);
  server.signal(SIGCONT);
}

namespace {

/// Counts renewals and fails every second one.
class FlakyQueue : public JobQueue {
 public:
  explicit FlakyQueue(std::atomic<int>& renewals) : renewals_(renewals) {}
  std::vector<Submitted> submit(const std::vector<Submission>&, const SubmitOptions&) override { return {}; }
  InboxResult take_inbox(const InboxValidator&, const std::string&) override { return {}; }
  void bind_model(const std::string&) override {}
  ClaimResult claim(const ClaimRequest&) override { return {}; }
  Renewed renew(const LeaseRef&, const Progress&) override {
    if (++renewals_ % 2 == 1) throw RedisError(RedisFault::connection, "away");
    return {true, false, Clock::now() + kForever};
  }
  Fence begin_publish(const LeaseRef&) override { return Fence::stale; }
  bool complete(const LeaseRef&, const Published&) override { return false; }
  std::optional<JobState> fail(const LeaseRef&, const Failure&) override { return {}; }
  std::optional<JobState> release(const LeaseRef&, bool) override { return {}; }
  Cancelled cancel(const std::string&) override { return Cancelled::unknown; }
  Retried retry(const std::string&) override { return Retried::unknown; }
  PutBack put_back(const std::string&, const std::string&, std::chrono::milliseconds) override { return {}; }
  void note_standing(const std::string&, const std::string&, const std::string&) override {}
  std::size_t reap() override { return 0; }
  Counts counts(const std::string&) override { return {}; }
  std::vector<JobView> list(JobState) override { return {}; }
  std::vector<JobView> lookup(const std::vector<std::string>&) override { return {}; }
  std::optional<std::int64_t> highest_pending() override { return {}; }
  std::string incarnation() override { return ""; }
  std::vector<BroughtBack> bring_back(const std::vector<LostJob>&, const BringBack&) override { return {}; }
  void set_content(const std::string&) override {}

 private:
  std::atomic<int>& renewals_;
};

}  // namespace

TEST_CASE("a renewal that fails is tried again at the next turn") {
  std::atomic<int> renewals{0};
  LeaseKeeper keeper(std::make_unique<FlakyQueue>(renewals), kTurn, {}, base::Logger());
  Lease lease;
  lease.ref = {"a", "1"};
  lease.deadline = Clock::now() + kTtl;
  keeper.hold(lease, kForever);
  CHECK(comes([&] { return renewals >= 6; }));
  CHECK(!keeper.look(lease.ref).lost);
  CHECK(keeper.look(lease.ref).deadline > lease.deadline);
}

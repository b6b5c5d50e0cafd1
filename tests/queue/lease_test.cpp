#include "nightreel/queue/lease.h"

#include <doctest/doctest.h>

#include <atomic>

#include "queue/test_server.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::job;
using test::request;
using test::TestServer;

namespace {

constexpr auto kTtl = 600ms;
constexpr auto kForever = std::chrono::hours(1);

struct Fixture {
  TestServer server;
  RedisQueue queue{server.queue_options(kTtl)};
  std::unique_ptr<LeaseKeeper> keeper;

  Fixture() {
    const base::CancelToken stop;
    auto connection = std::make_unique<RedisQueue>(server.queue_options(kTtl));
    connection->set_patience({kTtl / 3, stop});
    keeper = std::make_unique<LeaseKeeper>(std::move(connection), kTtl / 3, stop, base::Logger());
  }
  Lease claim(const std::string& id) {
    queue.submit({job(id)}, {});
    return queue.claim(request()).lease.value();
  }
  // Waits for a state that must come; how long is bounded by the test's own limit.
  bool comes(const LeaseRef& ref, bool LeaseState::*flag) {
    const auto until = Clock::now() + 3s;
    while (Clock::now() < until && !(keeper->look(ref).*flag)) std::this_thread::sleep_for(5ms);
    return keeper->look(ref).*flag;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a held lease outlives its TTL, and progress reaches the queue") {
  const Lease lease = claim("a");
  keeper->hold(lease, kForever);
  keeper->progress(lease.ref, {"denoise", 4, 20, {}}, kForever);
  std::this_thread::sleep_for(2 * kTtl);
  CHECK(queue.reap() == 0);
  CHECK(!keeper->look(lease.ref).lost);
  CHECK(keeper->look(lease.ref).deadline > lease.deadline);
  CHECK(queue.lookup({"a"})[0].progress.step == 4);
  keeper->drop(lease.ref);
  CHECK(keeper->look(lease.ref).lost);
  CHECK(queue.complete(lease.ref, {"v", "s", 1}));
}

TEST_CASE_FIXTURE(Fixture, "a job without progress loses its lease, one with progress beside it does not") {
  const Lease stuck = claim("stuck");
  keeper->hold(stuck, 150ms);
  const Lease moving = claim("moving");
  keeper->hold(moving, kForever);
  CHECK(comes(stuck.ref, &LeaseState::stalled));
  CHECK(comes(stuck.ref, &LeaseState::lost));
  CHECK(!keeper->look(moving.ref).stalled);
  std::this_thread::sleep_for(lease_margin(kTtl) + 20ms);
  CHECK(queue.reap() == 1);
  CHECK(queue.lookup({"stuck"})[0].state == JobState::pending);
  CHECK(queue.lookup({"moving"})[0].state == JobState::running);
}

TEST_CASE_FIXTURE(Fixture, "a request to cancel is seen, and a job that was taken away is lost") {
  const Lease a = claim("a");
  keeper->hold(a, kForever);
  queue.cancel("a");
  CHECK(comes(a.ref, &LeaseState::cancel_requested));
  CHECK(!keeper->look(a.ref).lost);
  const Lease b = claim("b");
  keeper->hold(b, kForever);
  Submission other = job("b");
  other.identity = "other";
  SubmitOptions overwrite;
  overwrite.overwrite = true;
  queue.submit({other}, overwrite);
  CHECK(comes(b.ref, &LeaseState::lost));
}

TEST_CASE_FIXTURE(Fixture, "with the server away the local deadline ends the lease; back in time it goes on") {
  const Lease lease = claim("a");
  keeper->hold(lease, kForever);
  server.signal(SIGSTOP);
  CHECK(comes(lease.ref, &LeaseState::lost));
  server.signal(SIGCONT);
  CHECK(keeper->look(lease.ref).deadline < Clock::now() + kTtl);
  const auto stopping = Clock::now();
  server.signal(SIGSTOP);
  keeper.reset();  // does not wait for a server that does not answer
  CHECK(Clock::now() - stopping < 1s);
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
    return {true, false, Clock::now() + 200ms};
  }
  Fence begin_publish(const LeaseRef&) override { return Fence::stale; }
  bool complete(const LeaseRef&, const Published&) override { return false; }
  std::optional<JobState> fail(const LeaseRef&, const Failure&) override { return {}; }
  std::optional<JobState> release(const LeaseRef&, bool) override { return {}; }
  Cancelled cancel(const std::string&) override { return Cancelled::unknown; }
  Retried retry(const std::string&) override { return Retried::unknown; }
  std::size_t reap() override { return 0; }
  Counts counts(const std::string&) override { return {}; }
  std::vector<JobView> list(JobState) override { return {}; }
  std::vector<JobView> lookup(const std::vector<std::string>&) override { return {}; }

 private:
  std::atomic<int>& renewals_;
};

}  // namespace

TEST_CASE("a renewal that fails is tried again at the next turn") {
  std::atomic<int> renewals{0};
  LeaseKeeper keeper(std::make_unique<FlakyQueue>(renewals), 20ms, {}, base::Logger());
  Lease lease;
  lease.ref = {"a", "1"};
  lease.deadline = Clock::now() + 200ms;
  keeper.hold(lease, kForever);
  std::this_thread::sleep_for(400ms);
  CHECK(renewals >= 6);
  CHECK(!keeper.look(lease.ref).lost);
}

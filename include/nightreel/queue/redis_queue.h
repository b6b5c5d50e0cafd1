// The job list in Redis: one Lua script a transition (src/queue/lua), server time only. docs/redis.md has the keys.
//
// Owns one connection. One thread at a time: a rank has one for its loop and one for its LeaseKeeper.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/queue/job_queue.h"
#include "nightreel/queue/redis.h"

namespace nightreel::queue {

struct RedisQueueOptions {
  RedisOptions redis;
  std::string name = "default";
  std::chrono::milliseconds lease{45'000};
  std::chrono::milliseconds first_backoff{5'000};  // doubles with each failed attempt, ±50 % at random
  std::chrono::milliseconds longest_backoff{300'000};
};

/// What a deadline keeps back from a lease's TTL, so that a rank stops before the server gives its job to another.
std::chrono::milliseconds lease_margin(std::chrono::milliseconds lease);

/// Throws Error{usage} for a name that is empty, too long, or has braces, spaces or control characters.
void check_queue_name(const std::string& name);

class RedisQueue : public JobQueue {
 public:
  /// Does not connect yet. Throws Error{usage} for a bad name.
  explicit RedisQueue(RedisQueueOptions options);
  ~RedisQueue() override;

  void set_patience(const Patience& patience);
  /// Connects and checks the server; throws what stands in the way.
  void ping();
  /// ping(), and whether this user may do what the scripts do. Throws Error{environment} where it may not.
  void check_rights();

  std::vector<Submitted> submit(const std::vector<Submission>& jobs, const SubmitOptions& options) override;
  InboxResult take_inbox(const InboxValidator& validate, const std::string& out) override;
  void bind_model(const std::string& digest) override;
  ClaimResult claim(const ClaimRequest& request) override;
  std::optional<std::int64_t> highest_pending() override;
  Renewed renew(const LeaseRef& ref, const Progress& progress) override;
  Fence begin_publish(const LeaseRef& ref) override;
  bool complete(const LeaseRef& ref, const Published& published) override;
  std::optional<JobState> fail(const LeaseRef& ref, const Failure& failure) override;
  using JobQueue::release;
  std::optional<JobState> release(const LeaseRef& ref, bool alone) override;
  Cancelled cancel(const std::string& id) override;
  Retried retry(const std::string& id) override;
  PutBack put_back(const std::string& id, const std::string& sha256, std::chrono::milliseconds age) override;
  void note_standing(const std::string& id, const std::string& sha256, const std::string& stamp) override;
  std::size_t reap() override;
  Counts counts(const std::string& run) override;
  std::vector<JobView> list(JobState state) override;
  std::vector<JobView> lookup(const std::vector<std::string>& ids) override;
  std::string incarnation() override;
  std::vector<BroughtBack> bring_back(const std::vector<LostJob>& jobs, const BringBack& options) override;
  void set_content(const std::string& run) override;

 private:
  struct Scripts;
  /// An inbox entry that a turn has looked at.
  struct Looked {
    std::string mark;
    std::string entry;  // of one that is too long, its beginning
  };
  Reply run(Script& script, const std::vector<std::string>& args);
  Reply ask(const std::function<Reply()>& call);
  void append_verdict(std::vector<std::string>& args, const Looked& looked, const InboxValidator& validate) const;
  std::vector<Submitted> submit_pass(const std::string& pass, const std::vector<Submission>& jobs,
                                     const SubmitOptions& options);
  Clock::time_point deadline_from(Clock::time_point sent) const;
  Lease lease_from(const Reply& reply, Clock::time_point sent) const;

  RedisQueueOptions options_;
  Redis redis_;
  std::string prefix_;
  std::string worker_;          // random: identity is a process start, never a host name
  std::string nonce_;           // of a claim whose reply has not come yet; empty: none
  std::vector<Looked> looked_;  // by the last turn at the inbox, from its head
  std::unique_ptr<Scripts> scripts_;
};

}  // namespace nightreel::queue

// A queue on a server of its own, and a look behind its scripts. Test code of the queue layer.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "nightreel/base/error.h"
#include "queue/test_server.h"

namespace nightreel::test {

inline const std::string kPrefix = "nightreel:{default}:";

/// An inbox entry is the id of a job, or begins with "bad".
inline queue::InboxJob validated(const std::string& entry) {
  if (entry.rfind("bad", 0) == 0) return {std::nullopt, "prompt: is missing"};
  return {a_job(entry), ""};
}

/// Turn after turn until nothing is left.
inline queue::InboxResult empty_inbox(queue::JobQueue& queue, const queue::InboxValidator& validate = validated) {
  queue::InboxResult all;
  for (bool more = true; more;) {
    const auto turn = queue.take_inbox(validate, "/out");
    all.added += turn.added;
    all.rejected.insert(all.rejected.end(), turn.rejected.begin(), turn.rejected.end());
    more = turn.more;
  }
  return all;
}

struct QueueFixture {
  TestServer server;
  queue::RedisQueue queue{server.queue_options()};
  queue::Redis raw{server.options()};

  queue::Lease claim(const queue::ClaimRequest& with = request()) {
    auto result = queue.claim(with);
    REQUIRE(result.lease);
    return *result.lease;
  }
  queue::JobView view(const std::string& id) { return queue.lookup({id}).at(0); }
  std::string field(const std::string& id, const std::string& name) {
    return raw.command({"HGET", kPrefix + "job:" + id, name}).text_or_empty();
  }
  // Server time cannot be moved, but what it is compared with can.
  void expire(const std::string& id) { raw.command({"ZADD", kPrefix + "run", "1", id}); }
  void due(const std::string& id) { raw.command({"ZADD", kPrefix + "delay", "1", id}); }
};

}  // namespace nightreel::test

// The Redis that a run would use: named or private, what it promises to keep, how fast it answers, from every host.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "doctor/context.h"
#include "doctor/queued.h"
#include "nightreel/queue/redis_address.h"

namespace nightreel::doctor {

/// Which Redis, as rank 0's flags and environment say.
struct RedisChoice {
  std::vector<queue::RedisAddress> addresses;  // empty: a private one
  std::string source;                          // "--redis", "REDIS_URL", "REDIS_HOST and REDIS_PORT"
};

/// Throws Error{usage} for an address that is none.
RedisChoice choose_redis(const std::string& flag, const queue::EnvLookup& environment);

struct RedisFacts {
  std::string where;  // the address that answered, without password
  std::string version;
  std::string append_only;   // yes, no; empty, as the next four: the server does not tell
  std::string append_fsync;  // always, everysec, no
  std::string save;          // "3600 1 300 100"; empty: never
  bool persistence_told = false;
  std::string role;      // master, slave
  double median_ms = 0;  // of a PING
  double worst_ms = 0;   //
  Queued queued;         // rank 0 alone asks
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RedisFacts, where, version, append_only, append_fsync, save, persistence_told, role,
                                   median_ms, worst_ms, queued)

/// Throws RedisError as a run would.
RedisFacts redis_facts(const std::vector<queue::RedisAddress>& addresses, const std::string& queue_name,
                       bool count_jobs);

Findings judge_redis(const Places& places, const std::vector<Answer<RedisFacts>>& answers, const std::string& source);

struct PrivateRedisFacts {
  std::string version;  // of redis-server in PATH
  Queued queued;        // in OUT's queue, where it has one
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PrivateRedisFacts, version, queued)

/// `out` may be empty. Throws Error{environment} where redis-server is not in PATH or OUT's queue cannot be opened.
PrivateRedisFacts private_redis_facts(const std::string& out);

Finding judge_private_redis(const Answer<PrivateRedisFacts>& answer, bool has_out);

/// "7.0.15" of what `redis-server --version` prints; empty where it prints none.
std::string server_version(const std::string& printed);

}  // namespace nightreel::doctor

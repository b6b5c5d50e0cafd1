// One connection to a Redis server: the project's only wrapper over hiredis.
//
// A Redis object owns its socket and connects when it is first used. One thread at a time; threads that need Redis at
// the same moment hold one object each. Everything that comes back is foreign: replies are copied into checked values,
// bounded in size, and a reply of the wrong type is an error, never a crash.
//
// A call that loses its connection is sent again after a reconnect, with growing pauses, trying the addresses in turn
// (each name resolved again), until the patience is used up: so every command sent through here must be safe to
// repeat. What fails is RedisError, an Error{queue} whose fault says why; `environment` where waiting cannot help
// (wrong password, a Cluster's redirect, Sentinel, too old, an evicting maxmemory-policy).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/base/error.h"
#include "nightreel/base/log.h"
#include "nightreel/queue/redis_address.h"

namespace nightreel::queue {

enum class RedisFault {
  connection,  // refused, lost, timed out, or bytes that are no Redis protocol
  loading,     // the server is there but not ready: LOADING, BUSY, MASTERDOWN, TRYAGAIN, CLUSTERDOWN
  full,        // OOM, MISCONF: it takes no more writes
  read_only,   // a replica: after a failover another address is the master
  auth,        // NOAUTH, WRONGPASS, NOPERM
  redirect,    // MOVED, ASK: Redis Cluster
  unsuitable,  // Sentinel, too old, evicting
  no_script,   // the script cache was flushed
  refused,     // any other error reply
  protocol     // a reply of the wrong type
};

/// May the same command succeed later, or on the next address?
bool retryable(RedisFault fault);

class RedisError : public base::Error {
 public:
  RedisError(RedisFault fault, const std::string& message);
  RedisFault fault() const { return fault_; }

 private:
  RedisFault fault_;
};

/// What an error reply ("MOVED 3999 127.0.0.1:6381") means.
RedisFault classify_error_reply(std::string_view reply);

/// A reply by value. The accessors throw RedisError{protocol} on another type.
class Reply {
 public:
  enum class Type { nil, integer, text, array };
  Reply() = default;
  explicit Reply(std::int64_t integer) : type_(Type::integer), integer_(integer) {}
  explicit Reply(std::string text) : type_(Type::text), text_(std::move(text)) {}
  explicit Reply(std::vector<Reply> items) : type_(Type::array), items_(std::move(items)) {}

  bool is_nil() const { return type_ == Type::nil; }
  /// An integer, or text that is one.
  std::int64_t integer() const;
  const std::string& text() const;
  /// Text, or empty where nil: a hash field that is not set.
  std::string text_or_empty() const;
  const std::vector<Reply>& array() const;
  /// The array's entry; an array that is too short is an error.
  const Reply& at(std::size_t index) const;

 private:
  Type type_ = Type::nil;
  std::int64_t integer_ = 0;
  std::string text_;
  std::vector<Reply> items_;
};

/// A Lua script with the SHA-1 under which the server caches it, filled in when it is first sent.
class Script {
 public:
  Script(std::string_view name, std::string source) : name_(name), source_(std::move(source)) {}
  const std::string& name() const { return name_; }
  const std::string& source() const { return source_; }

 private:
  friend class Redis;
  std::string name_;
  std::string source_;
  std::string sha_;
};

struct RedisOptions {
  std::vector<RedisAddress> addresses;
  std::string client_name;  // CLIENT SETNAME, for whoever looks at the server; no spaces
  std::chrono::milliseconds connect_timeout{1000};
  std::chrono::milliseconds command_timeout{5000};  // for one reply
  bool check_server = true;                         // version, mode, maxmemory-policy and persistence at each connect
  base::Logger log;
};

/// How long a call may take, reconnects included, and what cuts it short (Error{interrupted}).
struct Patience {
  std::chrono::milliseconds total{10'000};
  base::CancelToken stop;
  bool retry = true;  // false: one attempt, for what must not be sent twice
};

/// "1.2.3": the client library that this program was built with.
std::string hiredis_version();

class Redis {
 public:
  explicit Redis(RedisOptions options);
  Redis(Redis&&) noexcept;
  Redis& operator=(Redis&&) noexcept;
  ~Redis();

  void set_patience(const Patience& patience);

  /// Sends one command and waits for its reply. Throws RedisError, Error{interrupted}.
  Reply command(const std::vector<std::string>& args);
  /// EVALSHA with one key and `args`; EVAL where the server does not know the script.
  Reply eval(Script& script, const std::string& key, const std::vector<std::string>& args);

  /// Drops the connection; the next call makes a new one.
  void disconnect();
  /// The address that the next command goes to, without its password.
  std::string where() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nightreel::queue

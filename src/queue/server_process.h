// The redis-server of OUT/queue as a process: started on its data, asked whether it lives, shut down. Private to the
// queue layer.
//
// Owns the process, which ends with the thread that started it (base/process.h): one thread, that outlives it. Failures
// are Error{environment} with the last line of the server's log, or the fix.
#pragma once

#include <optional>
#include <string>

#include "nightreel/base/process.h"
#include "nightreel/queue/private_server.h"
#include "nightreel/queue/redis.h"
#include "queue/queue_folder.h"

namespace nightreel::queue {

class ServerProcess {
 public:
  ServerProcess(const PrivateServerOptions& options, const QueueFolder& folder) : options_(options), folder_(folder) {}

  /// Starts it on the port of `address`, and where that is taken on another one, which `address` then has; 0: on any.
  /// `lock`: the server's, which it holds from then on. `password`: the one that it serves ranks with at first.
  void start(RedisAddress& address, const std::string& password, const base::Fd& lock);
  /// "exit code 1", "signal 9 (Killed)" once it has ended.
  std::optional<std::string> ended() { return child_.wait(std::chrono::milliseconds(0)); }
  pid_t pid() const { return child_.pid(); }
  /// In order, by force where it takes no order. Returns when it has ended.
  void shut_down(const RedisAddress& address);
  /// `address` as its owner reaches it: on this host, with all rights.
  RedisAddress owners(RedisAddress address) const;

 private:
  bool launch(const RedisAddress& address, const base::Fd& lock);
  bool wait_until_ready(const RedisAddress& address);

  const PrivateServerOptions& options_;
  const QueueFolder& folder_;
  base::Child child_;
  std::string owner_password_;  // anew at each start
};

/// A connection of the owner's to the server on this host.
RedisOptions owners_options(const RedisAddress& address);

/// SHUTDOWN: returns when the connection has ended. Throws RedisError.
void ask_to_shut_down(const RedisAddress& address);

/// The last line of the server's log, printable.
std::string last_line_of(const std::string& log);

}  // namespace nightreel::queue

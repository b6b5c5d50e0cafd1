// OUT's own redis-server, for a run that was given no Redis: data, address and password under OUT/queue/ (folder mode
// 0700, files 0600), appendonly with fsync always, so that the same command again goes on where the last one stopped.
//
// PrivateServer owns the server process and OUT's lock; its destructor stops the server. One thread; the server has one
// of its own, which brings it back where it dies (queue/server_watch.h), and ends with this process in any case.
// PrivateQueue is what `submit`, `status`, `cancel` and `retry` use: it joins a run's server, or
// starts one for the call. Failures are Error{environment} that name OUT, the holder, or the fix.
//
// Two file locks decide everything (records are only for people): OUT/queue/lock is held by the program that owns the
// server, OUT/queue/server.lock by the server process itself, through a descriptor that it inherits. So a server that
// outlived its owner (a kernel that knows no PR_SET_PDEATHSIG, an older nightreel) is seen, from any host that shares
// OUT, is asked to shut down, and its data taken over.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "nightreel/base/log.h"
#include "nightreel/queue/redis_address.h"

namespace nightreel::queue {

struct PrivateServerOptions {
  std::string out;
  std::string purpose = "run";  // who holds it, for the message to the next one: "run", "status"
  std::string interface;        // address to listen on beside loopback, where ranks are on other hosts
  std::string program = "redis-server";
  std::chrono::milliseconds wait{10'000};   // for a holder that is only there for a call
  std::chrono::milliseconds lease{45'000};  // the run's: what each lease gets when the server is back from a death
  base::Logger log;
};

class PrivateServer {
 public:
  explicit PrivateServer(const PrivateServerOptions& options);
  PrivateServer(PrivateServer&&) noexcept;
  PrivateServer& operator=(PrivateServer&&) noexcept;
  ~PrivateServer();

  /// How every rank reaches it: the interface where one was given, else loopback. Holds the password, and names the
  /// file in which a later one stands.
  RedisAddress address() const;
  /// An orderly shutdown, after which OUT may be opened again. Does nothing a second time.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class PrivateQueue {
 public:
  /// `purpose` names the caller ("status"). Throws Error{environment} where OUT has no queue yet, unless `create`.
  static PrivateQueue open(const std::string& out, const std::string& purpose, bool create, const base::Logger& log);
  const RedisAddress& address() const { return address_; }

 private:
  std::unique_ptr<PrivateServer> own_;  // null: a run's server was joined
  RedisAddress address_;
};

}  // namespace nightreel::queue

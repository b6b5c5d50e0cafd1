// hiredis behind a socket that never blocks past its deadline: connect, send, receive. Private to the queue layer.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/queue/redis.h"

struct redisContext;
struct ssl_st;

namespace nightreel::queue {

using Clock = std::chrono::steady_clock;

/// Milliseconds until `until`, at least 0.
std::chrono::milliseconds time_left(Clock::time_point until);

/// Sleeps until `until`, at most. Throws Error{interrupted} when `stop` is raised.
void wait_until(Clock::time_point until, const base::CancelToken& stop);

/// Owns a connected socket. Any failure is RedisError{connection} and leaves an object that may only be destroyed; an
/// error reply is a RedisError of its own fault, after which the connection goes on.
class HiredisSocket {
 public:
  HiredisSocket(const RedisAddress& address, std::chrono::milliseconds timeout, const base::CancelToken& stop);
  Reply exchange(const std::vector<std::string>& args, Clock::time_point until, const base::CancelToken& stop);

 private:
  struct Free {
    void operator()(redisContext* context) const;
  };
  void send(const std::vector<std::string>& args, Clock::time_point until, const base::CancelToken& stop);
  Reply receive(Clock::time_point until, const base::CancelToken& stop);
  void wait_for(short events, Clock::time_point until, const base::CancelToken& stop) const;
  [[noreturn]] void throw_lost() const;

  std::unique_ptr<redisContext, Free> context_;
  ssl_st* tls_ = nullptr;  // the context's, where the address says TLS
};

}  // namespace nightreel::queue

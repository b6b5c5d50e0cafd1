// The queue that status, cancel and retry act on: a Redis that was named, or OUT's private one.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "nightreel/queue/private_server.h"
#include "nightreel/queue/redis_queue.h"

namespace nightreel::app {

struct QueueFlags {
  std::string name = "default";
  std::string redis;
  std::string out;
  void add_to(CLI::App& sub);
};

/// Owns the connection, and the private server where one was started for this call.
struct OpenQueue {
  std::optional<queue::PrivateQueue> server;
  std::unique_ptr<queue::RedisQueue> jobs;
};

/// Throws Error{usage} where neither a Redis nor --out is given. `purpose`: the subcommand.
/// `create`: OUT may be new.
OpenQueue open_queue(const QueueFlags& flags, const std::string& purpose, bool create = false);

}  // namespace nightreel::app

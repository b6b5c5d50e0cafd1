// A redis-server for one test on a private unix socket, and fakes. Test code of the queue layer.
#pragma once

#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/queue/redis.h"
#include "nightreel/queue/redis_queue.h"
#include "support/comes.h"
#include "support/temp_folder.h"

namespace nightreel::test {

class TestServer {
 public:
  using Environment = std::vector<std::pair<std::string, std::string>>;
  explicit TestServer(const std::string& more = "appendonly yes\nappendfsync always\n", Environment environment = {})
      : more_(more), environment_(std::move(environment)) {
    start();
  }

  void start() {
    base::ChildOptions plan;
    plan.argv = {"redis-server", "-"};
    plan.stderr_path = folder_.path() + "/log";
    plan.set_env = environment_;
    plan.die_with_thread = false;  // threads of tests start it again, and end before it
    child_ = base::Child(plan);
    base::write_line(child_.stdin_fd(), "port 0\nunixsocket " + address().unix_path + "\ndir " + folder_.path() +
                                            "\nlogfile " + folder_.path() + "/log\nsave \"\"\n" + more_);
    child_.close_stdin();
    const auto is_up = [&] { return std::filesystem::exists(address().unix_path); };
    const auto has_ended = [&] { return child_.wait(std::chrono::milliseconds(0)).has_value(); };
    if (comes([&] { return is_up() || has_ended(); }) && is_up()) return;
    throw base::Error(base::ErrorKind::environment,
                      "redis-server does not start; its log: " + base::read_file(folder_.path() + "/log", 1U << 20U));
  }
  void kill() {
    child_.kill(SIGKILL);
    child_.wait(std::chrono::seconds(60));
    std::filesystem::remove(address().unix_path);
  }
  void signal(int number) { child_.kill(number); }

  queue::RedisAddress address() const {
    queue::RedisAddress address;
    address.unix_path = folder_.path() + "/s";
    return address;
  }
  queue::RedisOptions options() const {
    queue::RedisOptions options;
    options.addresses = {address()};
    return options;
  }
  queue::Redis redis() const { return queue::Redis(options()); }
  queue::RedisQueueOptions queue_options(std::chrono::milliseconds lease = std::chrono::seconds(30)) const {
    queue::RedisQueueOptions out;
    out.redis = options();
    out.lease = lease;
    out.first_backoff = std::chrono::milliseconds(40);
    out.longest_backoff = std::chrono::milliseconds(200);
    return out;
  }

 private:
  TempFolder folder_;
  std::string more_;
  Environment environment_;
  base::Child child_;
};

/// The RedisError that `call` throws; anything else fails the test.
template <typename Call>
queue::RedisError redis_error_of(Call call) {
  try {
    call();
  } catch (const queue::RedisError& e) {
    return e;
  }
  FAIL("no RedisError was thrown");
  return {queue::RedisFault::protocol, ""};
}

inline queue::Submission a_job(const std::string& id, std::int64_t priority = 0, std::int64_t max_attempts = 0) {
  return {id, "hash-" + id, "hash-" + id, R"({"prompt":")" + id + "\"}", priority, max_attempts};
}

inline queue::ClaimRequest request(const std::string& out = "/out", const std::string& model = "m1") {
  queue::ClaimRequest request;
  request.out = out;
  request.model = model;
  request.run = "run-1";
  request.host = "node";
  return request;
}

}  // namespace nightreel::test

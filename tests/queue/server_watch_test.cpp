// A private redis-server that dies under its owner.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/json.h"
#include "nightreel/queue/private_server.h"
#include "queue/queue_folder.h"
#include "queue/test_server.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::comes;
using test::contains;

namespace {

const std::string kRunning = "nightreel:{default}:run";

struct Owned {
  test::TempFolder folder;
  std::string program;
  PrivateServer server{options()};

  explicit Owned(const std::string& script = "") : program(script.empty() ? "redis-server" : executable(script)) {}

  std::string executable(const std::string& script) const {
    const std::string path = folder.write("server.sh", "#!/bin/sh\nhere='" + folder.path() + "'\n" + script);
    ::chmod(path.c_str(), 0700);
    return path;
  }
  PrivateServerOptions options() const {
    PrivateServerOptions out;
    out.out = folder / "out";
    out.program = program;
    out.lease = 600s;
    return out;
  }
  pid_t pid() const {
    return static_cast<pid_t>(base::read_json(folder / "out/queue/address").at("server_pid").get<std::int64_t>());
  }
  RedisQueue queue() const {
    RedisQueueOptions out;
    out.redis.addresses = {server.address()};
    out.lease = 600s;
    return RedisQueue(out);
  }
  Redis raw() const {
    RedisOptions out;
    out.addresses = {server.address()};
    return Redis(out);
  }
  bool is_back_after(pid_t dead) const {
    return comes([&] { return pid() != dead; });
  }
  void dies_and_comes_back() const {
    const pid_t first = pid();
    ::kill(first, SIGKILL);
    REQUIRE(is_back_after(first));
  }
};

// Asks again and again until the end says why.
std::string end_told_to(RedisQueue& jobs) {
  jobs.set_patience({500ms, {}, true});
  std::string why;
  const bool told = comes([&] {
    try {
      jobs.counts("");
    } catch (const base::Error& e) {
      if (e.kind() == base::ErrorKind::environment) why = e.what();
    }
    return !why.empty();
  });
  CHECK(told);
  return why;
}

}  // namespace

TEST_CASE("a private server that dies is back on its data, and nobody's lease has run out meanwhile") {
  const Owned own;
  RedisQueue holder = own.queue();
  holder.submit({a_job("a")}, {});
  const auto lease = holder.claim(test::request()).lease;
  REQUIRE(lease);
  Redis raw = own.raw();
  RedisQueue other = own.queue();
  other.ping();
  const pid_t first = own.pid();
  const int port = own.server.address().port;
  raw.command({"ZADD", kRunning, "1", "a"});  // it ran out while the server was away
  ::kill(first, SIGKILL);
  std::atomic<bool> stop{false};
  std::atomic<bool> given_away{false};
  std::jthread greedy([&] {
    other.set_patience({50ms, {}, false});
    while (!stop) {
      try {
        given_away = given_away || other.claim(test::request()).lease.has_value();
      } catch (const base::Error&) {  // it is not back yet
      }
    }
  });
  CHECK(own.is_back_after(first));
  CHECK(holder.renew(lease->ref, {}).held);
  const double left_ms = std::stod(raw.command({"ZSCORE", kRunning, "a"}).text()) - static_cast<double>(base::now_ms());
  stop = true;
  greedy.join();
  CHECK(left_ms > 300'000);
  CHECK_FALSE(given_away);
  CHECK(own.server.address().port == port);
  CHECK(holder.complete(lease->ref, {"videos/a.mp4", "00", 1}));
}

TEST_CASE("where its port is taken meanwhile, it is found where OUT/queue/address says") {
  const Owned own(
      "if [ -e \"$here/first\" ]; then while [ ! -e \"$here/go\" ]; do sleep 0.02; done; fi\n"
      ": > \"$here/first\"\nexec redis-server -\n");
  RedisQueue jobs = own.queue();
  jobs.submit({a_job("a")}, {});
  const pid_t first = own.pid();
  const int port = own.server.address().port;
  ::kill(first, SIGKILL);
  base::ChildOptions plan;  // another program's server, which has another password
  plan.argv = {"redis-server", "--port", std::to_string(port), "--save", "", "--requirepass", "strange"};
  const base::Child stranger(plan);
  RedisOptions strangers;
  strangers.addresses = {{"127.0.0.1", port, "", "", "strange", 0}};
  REQUIRE(comes([&] {
    try {
      Redis(strangers).command({"PING"});
      return true;
    } catch (const base::Error&) {
      return false;
    }
  }));
  own.folder.write("go", "");
  CHECK(own.is_back_after(first));
  jobs.set_patience({60s, {}, true});
  CHECK(jobs.counts("").pending == 1);
  CHECK(own.server.address().port != port);
}

TEST_CASE("three deaths within a minute are the end, which everybody is told by name") {
  const Owned own;
  RedisQueue jobs = own.queue();
  jobs.ping();
  own.dies_and_comes_back();
  own.dies_and_comes_back();
  ::kill(own.pid(), SIGKILL);
  const std::string why = end_told_to(jobs);
  CHECK(contains(why, own.folder / "out/queue"));
  CHECK(contains(why, "died 3 times within a minute, the last time by signal 9 (Killed)"));
  CHECK(contains(why, "run the same command again"));
  CHECK(test::error_of(base::ErrorKind::environment, [&] { own.queue().ping(); }) == why);
}

TEST_CASE("a disk that takes nothing is the end, too") {
  Owned own;
  RedisQueue jobs = own.queue();
  jobs.ping();
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &none);  // of this process: the server has started
  ::kill(own.pid(), SIGKILL);
  const std::string why = end_told_to(jobs);
  ::setrlimit(RLIMIT_FSIZE, &before);
  CHECK(contains(why, own.folder / "out/queue/address"));
  CHECK(contains(why, "is gone, and so is the private redis-server"));
}

#include "nightreel/queue/private_server.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>

#include "nightreel/base/json.h"
#include "queue/queue_folder.h"
#include "queue/server_process.h"
#include "queue/test_server.h"
#include "support/error.h"

using namespace nightreel;
using namespace nightreel::queue;
using namespace std::chrono_literals;
using test::a_job;
using test::comes;

namespace {

PrivateServerOptions options_for(const std::string& out) {
  PrivateServerOptions options;
  options.out = out;
  options.wait = 300ms;
  return options;
}

RedisQueue queue_at(const RedisAddress& address) {
  RedisQueueOptions options;
  options.redis.addresses = {address};
  return RedisQueue(options);
}

unsigned mode_of(const std::string& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 0777U;
}

template <typename Call>
std::string environment_error(Call call) {
  return test::error_of(base::ErrorKind::environment, call);
}

// A child that runs `act` and then sleeps until it is killed with SIGKILL; its first byte tells that act() has ended.
class Victim {
 public:
  explicit Victim(const std::function<void()>& act) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      try {
        act();
        if (::write(ends[1], "x", 1) == 1) ::pause();
      } catch (const std::exception&) {
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    char byte = 0;
    CHECK(::read(ends[0], &byte, 1) == 1);
    ::close(ends[0]);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  ~Victim() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

std::int64_t server_pid(const std::string& out) {
  return base::read_json(out + "/queue/address").at("server_pid").get<std::int64_t>();
}

// A run that is killed at any time: its server ends with it.
Victim killed_run(const std::string& out, const std::string& purpose = "run") {
  return Victim([&] {
    PrivateServerOptions options = options_for(out);
    options.purpose = purpose;
    auto* server = new PrivateServer(options);
    queue_at(server->address()).submit({a_job("kept")}, {});
  });
}

// A server of an older nightreel, which the death of its owner did not end: it has the lock and the data.
class Orphan {
 public:
  explicit Orphan(const std::string& out) : options_(options_for(out)), folder_(out), server_(options_, folder_) {
    folder_.create();
    const auto lock = folder_.try_server_lock();
    REQUIRE(lock);
    RedisAddress address;
    address.host = "127.0.0.1";
    address.port = 0;
    address.password = "ab12";
    server_.start(address, address.password, *lock);
    folder_.write_address(address, server_.pid());
    queue_at(address).submit({a_job("kept")}, {});
  }
  pid_t pid() const { return server_.pid(); }
  bool lives() { return !server_.ended(); }

 private:
  PrivateServerOptions options_;
  QueueFolder folder_;
  ServerProcess server_;
};

}  // namespace

TEST_CASE("a private server keeps its jobs from one run to the next, and its secrets to itself") {
  const test::TempFolder folder;
  const std::string out = folder.path() + "/a \"b\"\n out";
  {
    PrivateServer server(options_for(out));
    queue_at(server.address()).submit({a_job("a"), a_job("b")}, {});
    CHECK(mode_of(out + "/queue") == 0700);
    CHECK(mode_of(out + "/queue/data") == 0700);
    CHECK(mode_of(out + "/queue/address") == 0600);
    CHECK(server.address().host == "127.0.0.1");
    std::ifstream argv("/proc/" + std::to_string(server_pid(out)) + "/cmdline");
    const std::string words((std::istreambuf_iterator<char>(argv)), std::istreambuf_iterator<char>());
    CHECK(words.find("redis-server") != std::string::npos);
    CHECK(words.find(server.address().password) == std::string::npos);
    RedisAddress stranger = server.address();
    stranger.password = stranger.file = "";
    environment_error([&] { queue_at(stranger).ping(); });
    server.stop();
    server.stop();
  }
  CHECK(::access((out + "/queue/address").c_str(), F_OK) != 0);
  PrivateServer again(options_for(out));
  CHECK(queue_at(again.address()).counts("").pending == 2);
}

TEST_CASE("ranks have no rights over a private server; its owner's password has, and is told to nobody") {
  const test::TempFolder folder;
  const std::string out = folder.path();
  PrivateServer server(options_for(out));
  CHECK(mode_of(out + "/queue/owner") == 0600);
  RedisAddress owner = server.address();
  owner.user = "owner";
  owner.password = base::read_file(out + "/queue/owner", 100);
  owner.password.pop_back();  // the line's end
  CHECK(owner.password != server.address().password);
  CHECK(base::read_file(out + "/queue/address", 4096).find(owner.password) == std::string::npos);
  const auto redis_at = [](const RedisAddress& address) {
    RedisOptions options;
    options.addresses = {address};
    Redis redis(options);
    redis.set_patience({10s, {}, false});
    return redis;
  };
  Redis rank = redis_at(server.address());
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"CONFIG", "SET", "dir", "/tmp"},
                                             {"CONFIG", "SET", "dbfilename", "x"},
                                             {"SHUTDOWN", "NOSAVE"},
                                             {"SAVE"},
                                             {"ACL", "SETUSER", "x"},
                                             {"FLUSHALL"},
                                             {"MODULE", "LIST"},
                                             {"REPLICAOF", "127.0.0.1", "1"},
                                             {"SET", "another-key", "x"},
                                             {"GET", "another-key"}}) {
    CAPTURE(words[0]);
    CHECK(test::contains(test::thrown_by([&] { rank.command(words); }).message, "NOPERM"));
  }
  CHECK(rank.command({"CONFIG", "GET", "maxmemory-policy"}).at(1).text() == "noeviction");
  Redis admin = redis_at(owner);
  CHECK(admin.command({"ACL", "WHOAMI"}).text() == "owner");
  CHECK(admin.command({"CONFIG", "SET", "maxclients", "5000"}).text() == "OK");
  server.stop();
  CHECK(::access((out + "/queue/owner").c_str(), F_OK) != 0);
}

TEST_CASE("a second run on the same OUT is refused and told who holds it") {
  const test::TempFolder folder;
  const PrivateServer server(options_for(folder.path()));
  const std::string message = environment_error([&] { PrivateServer second(options_for(folder.path())); });
  CHECK(message.find("pid " + std::to_string(::getpid())) != std::string::npos);
  CHECK(message.find("nightreel run") != std::string::npos);
  std::ofstream(folder.path() + "/queue/lock") << "{garbage";
  CHECK(environment_error([&] { PrivateServer third(options_for(folder.path())); }).find("another program") !=
        std::string::npos);
}

TEST_CASE("a private server ends with its owner, and the next one has its data") {
  const test::TempFolder folder;
  auto run = killed_run(folder.path());
  const auto pid = static_cast<pid_t>(server_pid(folder.path()));
  CHECK(::kill(pid, 0) == 0);
  run.kill();
  CHECK(comes([&] { return QueueFolder(folder.path()).try_server_lock().has_value(); }));  // nobody asked it to
  const PrivateServer server(options_for(folder.path()));
  CHECK(queue_at(server.address()).lookup({"kept"})[0].state == JobState::pending);
  CHECK(server_pid(folder.path()) != pid);
}

TEST_CASE("an orphaned server is shut down and its data taken over") {
  const test::TempFolder folder;
  Orphan orphan(folder.path());
  const PrivateServer server(options_for(folder.path()));
  CHECK(queue_at(server.address()).lookup({"kept"})[0].state == JobState::pending);
  CHECK(comes([&] { return !orphan.lives(); }));
  CHECK(server_pid(folder.path()) != orphan.pid());
}

TEST_CASE("an orphan that cannot be reached is an error, not a second server on the same data") {
  for (const char* content : {"", "garbage", R"({"format":"nightreel-queue","host":"127.0.0.1"})",
                              R"({"format":"nightreel-queue","host":"evil.example","port":1,"password":"ab"})",
                              R"({"format":"nightreel-queue","host":"127.0.0.1","port":99999,"password":"ab"})",
                              R"({"format":"nightreel-queue","host":"127.0.0.1","port":1,"password":"a\r\nb"})",
                              R"({"format":"nightreel-queue","ended":"it died"})",
                              R"({"format":"nightreel-queue","host":"127.0.0.1","port":1,"password":"ab"})"}) {
    CAPTURE(content);
    const test::TempFolder folder;
    {
      Orphan orphan(folder.path());
      std::ofstream(folder.path() + "/queue/address") << content;
      const std::string message = environment_error([&] { PrivateServer server(options_for(folder.path())); });
      CHECK(message.find(folder.path()) != std::string::npos);
      CHECK(orphan.lives());
    }
    if (std::string(content) == "garbage") {  // the server is gone: the stale file decides nothing
      const PrivateServer server(options_for(folder.path()));
      CHECK(queue_at(server.address()).counts("").pending == 1);
    }
  }
}

TEST_CASE("a call joins a run's server, starts one at rest, and waits for another call's") {
  const test::TempFolder folder;
  const base::Logger log;
  environment_error([&] { PrivateQueue::open(folder.path(), "status", false, log); });
  {
    const PrivateServer run(options_for(folder.path()));
    queue_at(run.address()).submit({a_job("a")}, {});
    const auto joined = PrivateQueue::open(folder.path(), "status", false, log);
    CHECK(joined.address().port == run.address().port);
    CHECK(queue_at(joined.address()).counts("").pending == 1);
  }
  {
    const auto resting = PrivateQueue::open(folder.path(), "status", false, log);
    CHECK(queue_at(resting.address()).counts("").pending == 1);
    PrivateServerOptions run = options_for(folder.path());
    CHECK(environment_error([&] { PrivateServer refused(run); }).find("nightreel status") != std::string::npos);
  }
  auto call = killed_run(folder.path(), "status");
  std::atomic<bool> ended{false};
  std::thread end([&] {
    std::this_thread::sleep_for(100ms);  // the run waits meanwhile
    ended = true;
    call.kill();
  });
  PrivateServerOptions patient = options_for(folder.path());
  patient.wait = 60s;
  const PrivateServer run(patient);
  CHECK(ended);
  end.join();
  CHECK(queue_at(run.address()).counts("").pending == 2);
}

TEST_CASE("what cannot serve as a queue's folder or server is named") {
  const test::TempFolder folder;
  std::ofstream(folder.path() + "/queue") << "a file";
  CHECK(environment_error([&] { PrivateServer server(options_for(folder.path())); }).find("/queue") !=
        std::string::npos);
  PrivateServerOptions missing = options_for(folder.path() + "/b");
  missing.program = "no-such-redis-server";
  CHECK(environment_error([&] { PrivateServer server(missing); }).find("--redis") != std::string::npos);
  missing.program = "false";
  CHECK(environment_error([&] { PrivateServer server(missing); }).find("does not start") != std::string::npos);
}

TEST_CASE("with an interface the server listens there as well as on loopback") {
  const test::TempFolder folder;
  PrivateServerOptions options = options_for(folder.path());
  options.interface = "127.0.0.2";
  const PrivateServer server(options);
  CHECK(server.address().host == "127.0.0.2");
  queue_at(server.address()).ping();
  RedisAddress loopback = server.address();
  loopback.host = "127.0.0.1";
  queue_at(loopback).ping();
}

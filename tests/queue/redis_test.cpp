#include "nightreel/queue/redis.h"

#include <doctest/doctest.h>

#include <atomic>
#include <random>

#include "nightreel/base/clock.h"
#include "queue/fake_server.h"
#include "queue/server_check.h"
#include "queue/test_server.h"
#include "support/error.h"

using namespace nightreel;
using namespace std::chrono_literals;
using queue::Redis;
using queue::RedisError;
using queue::RedisFault;
using test::contains;

namespace {

RedisError failure_of(Redis& redis, const std::vector<std::string>& args) {
  return test::redis_error_of([&] { redis.command(args); });
}

}  // namespace

TEST_CASE("error replies are told apart by what can be done about them") {
  const std::pair<const char*, RedisFault> rows[] = {
      {"MOVED 3999 127.0.0.1:6381", RedisFault::redirect},
      {"ASK 3999 127.0.0.1:6381", RedisFault::redirect},
      {"ASKING is no prefix", RedisFault::refused},
      {"OOM command not allowed when used memory > 'maxmemory'.", RedisFault::full},
      {"READONLY You can't write against a read only replica.", RedisFault::read_only},
      {"ERR Error running script: @user_script:1: -READONLY You can't write", RedisFault::read_only},
      {"NOAUTH Authentication required.", RedisFault::auth},
      {"WRONGPASS invalid username-password pair", RedisFault::auth},
      {"NOPERM no permissions", RedisFault::auth},
      {"LOADING Redis is loading the dataset in memory", RedisFault::loading},
      {"NOSCRIPT No matching script.", RedisFault::no_script},
      {"ERR unknown command", RedisFault::refused},
      {"WRONGTYPE Operation against a key holding the wrong kind of value", RedisFault::refused},
      {"ERR max number of clients reached", RedisFault::loading},
      {"ERR Error running script: Script killed by user with SCRIPT KILL...", RedisFault::loading},
      {"", RedisFault::refused},
  };
  for (const auto& [text, fault] : rows) {
    CAPTURE(text);
    CHECK(queue::classify_error_reply(text) == fault);
  }
}

TEST_CASE("a command travels and its reply is typed") {
  const test::TestServer server;
  Redis redis = server.redis();
  CHECK(redis.command({"SET", "k", std::string("a\0b", 3)}).text() == "OK");
  CHECK(redis.command({"GET", "k"}).text() == std::string("a\0b", 3));
  CHECK(redis.command({"GET", "none"}).is_nil());
  CHECK(redis.command({"GET", "none"}).text_or_empty() == "");
  CHECK(redis.command({"INCR", "n"}).integer() == 1);
  CHECK(redis.command({"GET", "n"}).integer() == 1);
  CHECK(redis.command({"MGET", "n", "none"}).at(0).text() == "1");
  CHECK_THROWS_AS(redis.command({"GET", "k"}).integer(), RedisError);
  CHECK_THROWS_AS(redis.command({"GET", "k"}).array(), RedisError);
  CHECK_THROWS_AS(redis.command({"MGET", "n"}).at(1), RedisError);
  CHECK_THROWS_AS(redis.command({"INCR", "n"}).text(), RedisError);
  CHECK(failure_of(redis, {"INCR", "k"}).fault() == RedisFault::refused);
}

TEST_CASE("a script runs again after the server forgot it") {
  const test::TestServer server;
  Redis redis = server.redis();
  queue::Script script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
  CHECK(redis.eval(script, "k", {"2"}).integer() == 2);
  redis.command({"SCRIPT", "FLUSH"});
  CHECK(redis.eval(script, "k", {"2"}).integer() == 4);
  CHECK(redis.eval(script, "k", {"2"}).integer() == 6);
}

TEST_CASE("a lost connection is made again, and a restarted server found") {
  test::TestServer server;
  Redis redis = server.redis();
  redis.command({"SET", "k", "v"});
  Redis other = server.redis();
  other.command({"CLIENT", "KILL", "TYPE", "normal"});
  CHECK(redis.command({"GET", "k"}).text() == "v");
  server.kill();
  redis.set_patience({200ms, {}});
  CHECK(failure_of(redis, {"GET", "k"}).fault() == RedisFault::connection);
  redis.set_patience({60s, {}});
  std::thread restart([&] { server.start(); });
  CHECK(redis.command({"GET", "k"}).text() == "v");
  restart.join();
}

TEST_CASE("a server that is away is an error after the patience, and a raised stop flag ends the wait at once") {
  queue::RedisOptions options;
  queue::RedisAddress address;
  address.unix_path = "/nonexistent/socket";
  options.addresses = {address};
  Redis redis(options);
  redis.set_patience({200ms, {}});
  const base::Stopwatch patient;
  const auto e = failure_of(redis, {"PING"});
  CHECK(e.fault() == RedisFault::connection);
  CHECK(e.kind() == base::ErrorKind::queue);
  CHECK(contains(e.what(), "unix:///nonexistent/socket"));
  CHECK(patient.seconds() > 0.05);  // it gives up where the next pause would be too long
  CHECK(patient.seconds() < 30);
  const base::CancelToken stop;
  redis.set_patience({1h, stop});
  std::thread raise([&] {
    std::this_thread::sleep_for(100ms);  // it has begun to wait; where it has not, it does not begin
    stop.cancel();
  });
  const base::Stopwatch stopped;
  test::error_of(base::ErrorKind::interrupted, [&] { redis.command({"PING"}); });
  raise.join();
  CHECK(stopped.seconds() < 30);
}

TEST_CASE("a server that is away is asked less and less often") {
  const base::CancelToken stop;
  std::atomic<int> asked{0};
  const test::FakeServer closing([&](const std::string&) {
    if (++asked == 7) stop.cancel();
    return "";
  });
  Redis redis(closing.options());
  redis.set_patience({1h, stop});
  const base::Stopwatch watch;
  test::error_of(base::ErrorKind::interrupted, [&] { redis.command({"PING"}); });
  CHECK(asked == 7);
  CHECK(watch.seconds() > 0.7);  // at once, then after 25 to 50 ms, 50 to 100, and so on: without doubling 0.3 at most
}

TEST_CASE("a stalled server costs the command's time limit, not for ever") {
  test::TestServer server;
  queue::RedisOptions options = server.options();
  options.command_timeout = 150ms;
  Redis redis(options);
  redis.set_patience({60s, {}});
  redis.command({"PING"});
  redis.set_patience({400ms, {}});
  server.signal(SIGSTOP);
  const base::Stopwatch watch;
  CHECK(failure_of(redis, {"PING"}).fault() == RedisFault::connection);
  CHECK(watch.seconds() < 30);
  server.signal(SIGCONT);
  redis.set_patience({60s, {}});
  CHECK(redis.command({"PING"}).text() == "PONG");
}

TEST_CASE("the next address is taken where one is away or a replica") {
  const test::TestServer master;
  const test::TestServer replica("replicaof 127.0.0.1 1\n");
  queue::RedisOptions options = replica.options();
  options.addresses.push_back(master.address());
  queue::RedisAddress away;
  away.unix_path = "/nonexistent/socket";
  options.addresses.insert(options.addresses.begin(), away);
  Redis redis(options);
  CHECK(redis.command({"SET", "k", "v"}).text() == "OK");
  CHECK(redis.where() == master.address().display());
}

TEST_CASE("passwords: given, missing, wrong, of an ACL user, and to a server without one") {
  const test::TestServer server("requirepass pw-default\nuser alice on >pw-alice ~* +@all\n");
  struct Row {
    const char* user;
    const char* password;
    bool ok;
  };
  const Row rows[] = {{"", "pw-default", true}, {"alice", "pw-alice", true},  {"", "", false},
                      {"", "pw-wrong", false},  {"alice", "pw-wrong", false}, {"bob", "pw-alice", false}};
  for (const Row& row : rows) {
    CAPTURE(row.user);
    CAPTURE(row.password);
    queue::RedisOptions options = server.options();
    options.addresses[0].user = row.user;
    options.addresses[0].password = row.password;
    Redis redis(options);
    if (row.ok) {
      CHECK(redis.command({"PING"}).text() == "PONG");
      continue;
    }
    const auto e = failure_of(redis, {"PING"});
    CHECK(e.fault() == RedisFault::auth);
    CHECK(e.kind() == base::ErrorKind::environment);
    CHECK(!contains(e.what(), "pw-"));
  }
  const test::TestServer open;
  queue::RedisOptions options = open.options();
  options.addresses[0].password = "unasked";
  CHECK(Redis(options).command({"PING"}).text() == "PONG");
}

TEST_CASE("a server that evicts is refused with the fix, one that only keeps memory is not") {
  const test::TestServer evicting("maxmemory-policy allkeys-lru\n");
  Redis redis = evicting.redis();
  const auto e = failure_of(redis, {"PING"});
  CHECK(e.fault() == RedisFault::unsuitable);
  CHECK(contains(e.what(), "CONFIG SET maxmemory-policy noeviction"));
  const test::TestServer forgetful("appendonly no\n");
  CHECK(forgetful.redis().command({"PING"}).text() == "PONG");
  const test::TestServer guarded("user default on nopass ~* +@all -config -info\n");
  CHECK(guarded.redis().command({"PING"}).text() == "PONG");
}

TEST_CASE("a server that evicts is refused where CONFIG is disabled, too, and one that may forget is warned of") {
  const test::TestServer evicting("maxmemory 100mb\nmaxmemory-policy allkeys-lru\nrename-command CONFIG \"\"\n");
  Redis redis = evicting.redis();
  const auto e = failure_of(redis, {"PING"});
  CHECK(e.fault() == RedisFault::unsuitable);
  CHECK(contains(e.what(), "its maxmemory-policy is allkeys-lru"));
  const auto warnings = [](const test::TestServer& server) {
    queue::RedisOptions options = server.options();
    options.check_server = false;
    Redis asked(options);
    return queue::check_server([&](const std::vector<std::string>& words) { return asked.command(words); });
  };
  const std::string no_config = "rename-command CONFIG \"\"\n";
  const test::TestServer forgetful("appendonly no\n" + no_config);
  REQUIRE(warnings(forgetful).size() == 1);
  CHECK(contains(warnings(forgetful)[0], "a restart may lose the queue"));
  const test::TestServer keeping("appendonly yes\n" + no_config);
  CHECK(warnings(keeping).empty());
  const test::TestServer known("appendonly no\n");
  REQUIRE(warnings(known).size() == 1);
  CHECK(contains(warnings(known)[0], "keeps nothing on disk"));
}

TEST_CASE("Sentinel and an old version are named") {
  for (const auto& [info, word] : {std::pair{"redis_version:7.0.15\r\nredis_mode:sentinel\r\n", "Sentinel"},
                                   {"redis_version:6.0.16\r\nredis_mode:standalone\r\n", "6.2"},
                                   {"nothing\r\n", "redis_version"}}) {
    const std::string body = info;
    const test::FakeServer fake(
        [&](const std::string&) { return "$" + std::to_string(body.size()) + "\r\n" + body + "\r\n"; });
    Redis redis(fake.options(true));
    const auto e = failure_of(redis, {"PING"});
    CHECK(e.fault() == RedisFault::unsuitable);
    CHECK(contains(e.what(), word));
  }
}

TEST_CASE("a redirect is named and not followed; an echoed password is not shown") {
  const test::FakeServer cluster([](const std::string&) { return "-MOVED 3999 127.0.0.1:6381\r\n"; });
  Redis redis(cluster.options());
  const auto e = failure_of(redis, {"GET", "k"});
  CHECK(e.fault() == RedisFault::redirect);
  CHECK(contains(e.what(), "Cluster"));
  CHECK(cluster.connections() == 1);
  const test::FakeServer echo([](const std::string&) { return "-ERR unknown command 'AUTH', args: 'hunter2'\r\n"; });
  queue::RedisOptions options = echo.options();
  options.addresses[0].password = "hunter2";
  Redis asked(options);
  CHECK(!contains(failure_of(asked, {"PING"}).what(), "hunter2"));
}

TEST_CASE("hostile, cut and endless replies are errors, not crashes") {
  std::string endless = "$99999999999\r\n";
  endless.append(50'000, 'x');
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "*1\r\n";
  const std::string replies[] = {"garbage\r\n",
                                 "\r\n",
                                 std::string(3, '\0'),
                                 "$-5\r\n",
                                 "$abc\r\n",
                                 "$5\r\nab",
                                 "*2147483647\r\n",
                                 "*-7\r\n",
                                 "*99999999999999999999\r\n",
                                 "*1048577\r\n",
                                 ":99999999999999999999999\r\n",
                                 ":\r\n",
                                 "*2\r\n$1\r\na\r\n",
                                 "%2\r\n",
                                 deep,
                                 endless,
                                 ""};
  for (const auto& reply : replies) {
    CAPTURE(base::printable(reply, 60));
    const test::FakeServer fake([&](const std::string&) { return reply; });
    queue::RedisOptions options = fake.options();
    options.command_timeout = 100ms;
    Redis redis(options);
    redis.set_patience({150ms, {}});
    CHECK_THROWS_AS(redis.command({"GET", "k"}).text(), RedisError);
  }
}

TEST_CASE("a second reply to one command is never taken for the next command's") {
  int asked = 0;
  const test::FakeServer fake([&](const std::string&) {
    ++asked;
    return asked == 1 ? "$1\r\na\r\n$1\r\nb\r\n" : "$1\r\nc\r\n";
  });
  Redis redis(fake.options());
  CHECK(redis.command({"GET", "k"}).text() == "a");
  CHECK(redis.command({"GET", "k"}).text() == "c");
  CHECK(fake.connections() == 2);
}

TEST_CASE("random bytes of a fixed seed never crash the client") {
  std::minstd_rand random(7);
  int answered = 0;
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    const std::string alphabet = "*$+-:0123456789\r\n\r\nab";
    std::string reply;
    for (int i = 0; i < 40; ++i) reply += alphabet[random() % alphabet.size()];
    const test::FakeServer fake([&](const std::string&) { return reply; });
    queue::RedisOptions options = fake.options();
    options.command_timeout = 20ms;
    Redis redis(options);
    redis.set_patience({60s, {}, false});
    try {
      redis.command({"GET", "k"});
      ++answered;
    } catch (const RedisError&) {  // nothing but a reply or this
      ++refused;
    }
  }
  CHECK(answered + refused == 60);
  CHECK(refused > 30);
}

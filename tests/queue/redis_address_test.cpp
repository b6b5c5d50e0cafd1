#include "nightreel/queue/redis_address.h"

#include <doctest/doctest.h>

#include <map>

#include "queue/test_server.h"
#include "queue/tls.h"
#include "support/error.h"

using namespace nightreel;
using queue::RedisAddress;
using test::contains;
using test::error_of;

namespace {

queue::EnvLookup env_of(std::map<std::string, std::string> values) {
  return [values](const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

}  // namespace

TEST_CASE("an address is read field by field") {
  struct Row {
    const char* text;
    RedisAddress want;
  };
  const Row rows[] = {
      {"redis://h", {"h", 6379, "", "", "", 0}},
      {"redis://h:7000/3", {"h", 7000, "", "", "", 3}},
      {"redis://h:7000/", {"h", 7000, "", "", "", 0}},
      {"redis://h?db=4", {"h", 6379, "", "", "", 4}},
      {"redis://:secret@10.0.0.1:1", {"10.0.0.1", 1, "", "", "secret", 0}},
      {"redis://alice:p%40s%2Cs@h", {"h", 6379, "", "alice", "p@s,s", 0}},
      {"redis://alice:p?a/b@h", {"h", 6379, "", "alice", "p?a/b", 0}},
      {"redis://[::1]:7000", {"::1", 7000, "", "", "", 0}},
      {"redis://[::1]", {"::1", 6379, "", "", "", 0}},
      {"unix:///run/a@b.sock?db=2", {"", 6379, "/run/a@b.sock", "", "", 2}},
      {"unix://u:p@/run/r.sock", {"", 6379, "/run/r.sock", "u", "p", 0}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const auto got = queue::parse_redis_addresses(row.text);
    REQUIRE(got.size() == 1);
    CHECK(got[0].host == row.want.host);
    CHECK(got[0].port == row.want.port);
    CHECK(got[0].unix_path == row.want.unix_path);
    CHECK(got[0].user == row.want.user);
    CHECK(got[0].password == row.want.password);
    CHECK(got[0].db == row.want.db);
  }
  const auto several = queue::parse_redis_addresses("redis://a,redis://u:p@b:2,unix:///s");
  REQUIRE(several.size() == 3);
  CHECK(several[1].display() == "redis://b:2");
  CHECK(several[2].display() == "unix:///s");
}

TEST_CASE("a bad address is refused without showing its password") {
  const char* bad[] = {"",
                       "localhost:6379",
                       "http://h",
                       "redis://",
                       "redis://u:hunter2@",
                       "redis://u:hunter2@h:99999",
                       "redis://u:hunter2@h:x",
                       "redis://u:hunter2@h/x",
                       "redis://u:hunter2@h?ssl=1",
                       "redis://u:hunter2%zz@h",
                       "redis://u:hunter2%00@h",
                       "redis://u:hunt,er2@h",
                       "redis://:hunt#b@c/er2:e?f%g h+i,er2@h",
                       "redis://:hunt@1,er2@h",
                       "redis://:hunt@1/er2,x@h",
                       "redis://:hunt@er2#3",
                       "redis://h1,redis://u:hunt,er2@h2",
                       "redis://u:hunt,er2@h1,redis://h2",
                       "redis://u:hunt@h1,redis://u:x@hunt/er2",
                       "hunt:er2@h",
                       "Redis://u:hunter2@h",
                       "redis://[::1",
                       "redis://[::1]x",
                       "redis://a b",
                       "unix://relative/hunter2",
                       "redis://h,",
                       "redis://h,h2"};
  for (const char* text : bad) {
    CAPTURE(text);
    const std::string message = error_of(base::ErrorKind::usage, [&] { queue::parse_redis_addresses(text); });
    CHECK(message != "");
    if (contains(text, "@")) {
      CHECK(!contains(message, "hunt"));
      CHECK(!contains(message, "er2"));
    }
  }
  // What stands where a host and port belong may be a password whose @host was forgotten.
  for (const char* text : {"redis://alice:hunter2", "redis://:hunter2", "redis://h/hunter2", "redis://h?hunter2=1"}) {
    CAPTURE(text);
    const std::string message = error_of(base::ErrorKind::usage, [&] { queue::parse_redis_addresses(text); });
    CHECK(!contains(message, "hunt"));
  }
}

TEST_CASE("TLS where the build has none, Sentinel and Cluster are refused by name") {
  for (const auto& [text, word] : {std::pair{queue::tls_available() ? "redis+cluster://u:pw@h" : "rediss://u:pw@h",
                                             queue::tls_available() ? "Cluster" : "TLS"},
                                   {"redis+sentinel://h/mymaster", "Sentinel"},
                                   {"redis-sentinel://h", "Sentinel"},
                                   {"redis+cluster://h", "Cluster"}}) {
    CAPTURE(text);
    const auto parse = [refused = text] { queue::parse_redis_addresses(refused); };
    const std::string message = error_of(base::ErrorKind::environment, parse);
    CHECK(contains(message, word));
    CHECK(!contains(message, "pw"));
  }
}

TEST_CASE("the flag goes before REDIS_URL, and that before REDIS_HOST") {
  const auto env = env_of({{"REDIS_URL", "redis://url"}, {"REDIS_HOST", "host"}, {"REDIS_PORT", "7"}});
  CHECK(queue::find_redis("redis://flag", env)->at(0).host == "flag");
  CHECK(queue::find_redis("", env)->at(0).host == "url");
  const auto host = queue::find_redis("", env_of({{"REDIS_URL", ""}, {"REDIS_HOST", "host"}, {"REDIS_PORT", "7"}}));
  CHECK(host->at(0).host == "host");
  CHECK(host->at(0).port == 7);
  CHECK(!queue::find_redis("", env_of({})));
  CHECK_THROWS_AS(queue::find_redis("", env_of({{"REDIS_HOST", "h"}, {"REDIS_PORT", "x"}})), base::Error);
}

TEST_CASE("REDIS_PORT is a number, or what Kubernetes sets for a service called redis") {
  const auto port = [](const char* text) {
    return queue::find_redis("", env_of({{"REDIS_HOST", "h"}, {"REDIS_PORT", text}}))->at(0).port;
  };
  CHECK(port("6380") == 6380);
  CHECK(port("tcp://10.96.0.12:6380") == 6380);
  CHECK(port("tcp://[fd00::1]:6380") == 6380);
  CHECK(queue::find_redis("", env_of({{"REDIS_HOST", "h"}, {"REDIS_PORT", "tcp://10.96.0.12:6380"}}))->at(0).host ==
        "h");
  CHECK(!queue::find_redis("", env_of({{"REDIS_PORT", "tcp://10.96.0.12:6379"}})));  // nobody named a Redis
  for (const char* bad : {"tcp://", "tcp://10.96.0.12", "udp://h:1", "0", "6379x"}) {
    CAPTURE(bad);
    CHECK(contains(error_of(base::ErrorKind::usage, [&] { port(bad); }), "is no port: write a number"));
  }
}

TEST_CASE("user and password come from variables or files where the address states none") {
  const test::TempFolder folder;
  base::replace_file(folder.path() + "/pw", "s3cret\n");
  base::replace_file(folder.path() + "/empty", "\n");
  const auto env =
      env_of({{"REDIS_HOST", "h"}, {"REDIS_USERNAME", "alice"}, {"REDIS_PASSWORD_FILE", folder.path() + "/pw"}});
  const auto found = queue::find_redis("", env);
  CHECK(found->at(0).user == "alice");
  CHECK(found->at(0).password == "s3cret");
  const auto mixed = queue::find_redis("redis://a,redis://:own@b,redis://bob@c", env);
  CHECK(mixed->at(0).password == "s3cret");
  CHECK(mixed->at(1).password == "own");
  CHECK(mixed->at(1).user == "");
  CHECK(mixed->at(2).user == "bob");
  CHECK_THROWS_AS(queue::find_redis("redis://bob@c", env_of({})), base::Error);
  CHECK_THROWS_AS(
      queue::find_redis("", env_of({{"REDIS_HOST", "h"}, {"REDIS_PASSWORD_FILE", folder.path() + "/empty"}})),
      base::Error);
  CHECK_THROWS_AS(
      queue::find_redis("", env_of({{"REDIS_HOST", "h"}, {"REDIS_PASSWORD_FILE", folder.path() + "/none"}})),
      base::Error);
}

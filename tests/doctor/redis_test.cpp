#include "doctor/redis.h"

#include "doctor/support.h"

namespace nightreel::doctor {
namespace {

RedisFacts sound_redis() {
  RedisFacts facts;
  facts.where = "redis://r:6379";
  facts.version = "7.0.15";
  facts.append_only = "yes";
  facts.append_fsync = "always";
  facts.persistence_told = true;
  facts.role = "master";
  facts.median_ms = 0.2;
  facts.worst_ms = 1;
  return facts;
}

TEST_CASE("the Redis that is used is shown with where it was named") {
  struct Case {
    std::string flag;
    std::map<std::string, std::string> variables;
    std::string where;
    std::string source;
  };
  const std::vector<Case> cases{{"redis://f:1", {{"REDIS_URL", "redis://u:2"}}, "redis://f:1", "--redis"},
                                {"", {{"REDIS_URL", "redis://u:2"}, {"REDIS_HOST", "h"}}, "redis://u:2", "REDIS_URL"},
                                {"",
                                 {{"REDIS_HOST", "h"}, {"REDIS_PORT", "7"}, {"REDIS_PASSWORD", "secret"}},
                                 "redis://h:7",
                                 "REDIS_HOST and REDIS_PORT"},
                                {"", {{"REDIS_HOST", "h"}}, "redis://h:6379", "REDIS_HOST"}};
  for (const auto& one : cases) {
    const auto choice = choose_redis(one.flag, environment_of(one.variables));
    REQUIRE(choice.addresses.size() == 1);
    CHECK(choice.addresses[0].display() == one.where);
    CHECK(choice.source == one.source);
  }
  CHECK(choose_redis("", environment_of({{"REDIS_PORT", "7"}})).addresses.empty());
}

TEST_CASE("a sound Redis is told with its latency and the jobs that wait") {
  const Places places = places_of({2});
  RedisFacts facts = sound_redis();
  facts.queued.jobs = 12;
  const auto findings = judge_redis(places, all_say(places, facts), "REDIS_HOST and REDIS_PORT");
  check_says(findings, "redis", Level::ok,
             {"redis://r:6379 from REDIS_HOST and REDIS_PORT", "7.0.15", "0.2 ms", "12 jobs"});
  check_says(findings, "persistence", Level::ok, {"always"});
}

TEST_CASE("each fault of a Redis is named") {
  const Places places = places_of({1, 1});
  struct Case {
    const char* check;
    Level level;
    void (*change)(std::vector<Answer<RedisFacts>>&);
    std::vector<std::string> says;
  };
  const std::vector<Case> cases{
      {"redis",
       Level::failure,
       [](auto& a) {
         for (auto& one : a) one.problem = "Redis redis://r:6379: connection refused";
       },
       {"rank 0 on host a, rank 1 on host b: Redis", "open its port"}},
      {"redis", Level::failure, [](auto& a) { a[1].problem = "timed out"; }, {"rank 1 on host b: timed out"}},
      {"redis", Level::failure, [](auto& a) { a[1].facts.where = "redis://s:1/0"; }, {"different servers"}},
      {"redis", Level::failure, [](auto& a) { a[0].facts.role = "slave"; }, {"replica", "master"}},
      {"redis", Level::warning, [](auto& a) { a[1].facts.median_ms = 80; }, {"80 ms", "nearer"}},
      {"persistence",
       Level::warning,
       [](auto& a) { a[0].facts.append_only = "no"; },
       {"keeps nothing on disk", "appendonly yes"}},
      {"persistence",
       Level::warning,
       [](auto& a) {
         a[0].facts.append_only = "no";
         a[0].facts.save = "3600 1";
       },
       {"snapshots alone (save 3600 1)"}},
      {"persistence", Level::ok, [](auto& a) { a[0].facts.append_fsync = "everysec"; }, {"last second"}},
      {"persistence", Level::not_checked, [](auto& a) { a[0].facts.persistence_told = false; }, {"does not tell"}}};
  for (const auto& one : cases) {
    auto answers = all_say(places, sound_redis());
    one.change(answers);
    check_says(judge_redis(places, answers, "--redis"), one.check, one.level, one.says);
  }
}

TEST_CASE("without a Redis the server that a run would start is looked at") {
  CHECK(server_version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64") == "7.0.15");
  CHECK(server_version("something else") == "");
  check_says({judge_private_redis({{"7.0.15", {3, {}}}, ""}, true)}, "redis", Level::ok,
             {"7.0.15 under OUT", "3 jobs"});
  check_says({judge_private_redis({{"6.2.0", {}}, ""}, false)}, "redis", Level::ok);
  for (const char* old : {"6.0.16", "5.0", "nonsense"}) {
    check_says({judge_private_redis({{old, {}}, ""}, false)}, "redis", Level::failure, {"too old", "6.2"});
  }
  check_says({judge_private_redis({{}, "redis-server: not found"}, false)}, "redis", Level::failure,
             {"redis-server: not found", "--redis"});
}

}  // namespace
}  // namespace nightreel::doctor

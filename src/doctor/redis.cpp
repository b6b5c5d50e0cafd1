#include "doctor/redis.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "nightreel/base/clock.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/queue/private_server.h"
#include "nightreel/queue/redis_queue.h"

namespace nightreel::doctor {
namespace {

constexpr int kPings = 21;
constexpr double kSlow_ms = 50;  // a rank talks to it some times a second, and a claim is one call
constexpr const char* kReachFix =
    "start it, open its port to every host, see --redis, REDIS_URL or REDIS_HOST with REDIS_PORT, and the password "
    "(REDIS_PASSWORD or REDIS_PASSWORD_FILE)";

bool is_set(const queue::EnvLookup& environment, const std::string& name) {
  for (const auto& one : {name, name + "_FILE"}) {
    const auto value = environment(one);
    if (value && !value->empty()) return true;
  }
  return false;
}

std::string info_field(const std::string& info, const std::string& name) {
  const auto at = ("\n" + info).find("\n" + name + ":");
  if (at == std::string::npos) return "";
  const auto start = at + name.size() + 1;
  return info.substr(start, info.find_first_of("\r\n", start) - start);
}

// Nothing where the server's ACL keeps it from us.
std::optional<std::string> told(queue::Redis& redis, const std::vector<std::string>& question) {
  try {
    const auto reply = redis.command(question);
    if (question.front() == "INFO") return reply.text();
    return reply.array().size() < 2 ? std::nullopt : std::optional(reply.at(1).text());
  } catch (const queue::RedisError& e) {
    if (queue::retryable(e.fault())) throw;
    return std::nullopt;
  }
}

void measure(queue::Redis& redis, RedisFacts& facts) {
  std::vector<double> ms;
  for (int i = 0; i < kPings; ++i) {
    const base::Stopwatch watch;
    redis.command({"PING"});
    ms.push_back(watch.seconds() * 1000);
  }
  std::sort(ms.begin(), ms.end());
  facts.median_ms = ms[ms.size() / 2];
  facts.worst_ms = ms.back();
}

queue::RedisQueueOptions options_for(const std::vector<queue::RedisAddress>& addresses, const std::string& name) {
  queue::RedisQueueOptions options;
  options.redis.addresses = addresses;
  options.redis.client_name = "nightreel-doctor";
  options.name = name;
  return options;
}

std::string milliseconds(double ms) {
  std::ostringstream text;
  text.precision(2);
  text << ms << " ms";
  return text.str();
}

Finding judge_persistence(const RedisFacts& facts) {
  if (!facts.persistence_told) {
    return not_checked("persistence", "the server does not tell its appendonly and save settings");
  }
  const char* fix = "redis-cli CONFIG SET appendonly yes, and appendonly yes in its redis.conf";
  if (facts.append_only != "yes" && facts.save.empty()) {
    return warning("persistence", "this Redis keeps nothing on disk: its restart loses the queue", fix);
  }
  if (facts.append_only != "yes") {
    return warning(
        "persistence",
        "this Redis keeps snapshots alone (save " + facts.save + "): its restart loses what came after the last one",
        fix);
  }
  if (facts.append_fsync == "always") return ok("persistence", "appendonly yes, appendfsync always");
  return ok("persistence", "appendonly yes, appendfsync " + facts.append_fsync +
                               ": a power cut may lose the last second; always loses nothing");
}

}  // namespace

RedisChoice choose_redis(const std::string& flag, const queue::EnvLookup& environment) {
  RedisChoice choice;
  if (const auto named = queue::find_redis(flag, environment)) choice.addresses = *named;
  if (choice.addresses.empty()) return choice;
  if (!flag.empty()) {
    choice.source = "--redis";
  } else if (is_set(environment, "REDIS_URL")) {
    choice.source = "REDIS_URL";
  } else {
    choice.source = is_set(environment, "REDIS_PORT") ? "REDIS_HOST and REDIS_PORT" : "REDIS_HOST";
  }
  return choice;
}

RedisFacts redis_facts(const std::vector<queue::RedisAddress>& addresses, const std::string& queue_name,
                       bool count_jobs) {
  // The connection itself judges version, mode and maxmemory-policy, for a run as for us.
  queue::Redis redis(options_for(addresses, queue_name).redis);
  redis.set_patience({std::chrono::milliseconds(3000), {}, true});
  RedisFacts facts;
  redis.command({"PING"});
  facts.where = redis.where();
  measure(redis, facts);
  const std::string info = told(redis, {"INFO"}).value_or("");
  facts.version = base::printable(info_field(info, "redis_version"), 40);
  facts.role = base::printable(info_field(info, "role"), 40);
  const auto append_only = told(redis, {"CONFIG", "GET", "appendonly"});
  facts.persistence_told = append_only.has_value();
  facts.append_only = append_only.value_or("");
  facts.append_fsync = told(redis, {"CONFIG", "GET", "appendfsync"}).value_or("");
  facts.save = told(redis, {"CONFIG", "GET", "save"}).value_or("");
  if (count_jobs) facts.queued = look_at_queue(addresses, queue_name);
  return facts;
}

Findings judge_redis(const Places& places, const std::vector<Answer<RedisFacts>>& answers, const std::string& source) {
  Findings out = failures_of("redis", places, answers, kReachFix);
  if (!answers.front().has_facts()) return out;
  const auto& facts = answers.front().facts;
  const auto servers = values_of(answers, [](const RedisFacts& f) { return f.where; });
  if (differ(servers)) {
    out.push_back(failure("redis", "the ranks reach different servers: " + spread(places, servers),
                          "name one Redis that every host reaches"));
  }
  if (facts.role == "slave") {
    out.push_back(failure("redis", facts.where + " is a replica and takes no jobs", "name its master"));
  }
  double worst_median = 0;
  for (const auto& answer : answers) worst_median = std::max(worst_median, answer.facts.median_ms);
  const std::string answer_time = "answers within " + milliseconds(worst_median) + " (median of the slowest rank)";
  const std::string text = facts.where + " from " + source + ", " +
                           (facts.version.empty() ? "" : "version " + facts.version + ", ") + "maxmemory-policy fit, " +
                           answer_time + ", " + plural(facts.queued.jobs, "job") + " queued";
  if (worst_median > kSlow_ms) {
    out.push_back(warning("redis", text, "move it nearer to the ranks, or give its host less other work"));
  } else if (out.empty()) {
    out.push_back(ok("redis", text));
  }
  out.push_back(judge_persistence(facts));
  return out;
}

std::string server_version(const std::string& printed) {
  const auto at = printed.find("v=");
  if (at == std::string::npos) return "";
  return printed.substr(at + 2, printed.find_first_of(" \r\n", at) - at - 2);
}

PrivateRedisFacts private_redis_facts(const std::string& out) {
  base::ChildOptions options;
  options.argv = {"redis-server", "--version"};
  options.environment.take = base::EnvironmentRule::Take::listed;
  options.pipe_stdin = false;
  base::Child server(options);
  base::LineReader lines(server.stdout_fd(), 4096);
  std::string line;
  PrivateRedisFacts facts;
  if (lines.next(line, std::chrono::seconds(10)) == base::LineReader::Status::line) {
    facts.version = base::printable(server_version(line), 40);
  }
  server.wait(std::chrono::seconds(1));
  if (facts.version.empty()) {
    throw base::Error(base::ErrorKind::environment, "redis-server --version does not say its version");
  }
  if (!out.empty() && std::filesystem::exists(out + "/queue")) {
    const auto own = queue::PrivateQueue::open(out, "doctor", false, base::Logger());
    facts.queued = look_at_queue({own.address()}, "default");
  }
  return facts;
}

Finding judge_private_redis(const Answer<PrivateRedisFacts>& answer, bool has_out) {
  const char* fix =
      "install redis-server (6.2 or newer) on the host of rank 0, or name a Redis with --redis or REDIS_URL";
  if (!answer.has_facts())
    return failure("redis", "none is named, and a private one cannot start: " + answer.problem, fix);
  char* end = nullptr;
  const unsigned long major = std::strtoul(answer.facts.version.c_str(), &end, 10);
  const unsigned long minor = *end == '.' ? std::strtoul(end + 1, nullptr, 10) : 0;
  if (major < 6 || (major == 6 && minor < 2)) {
    return failure("redis", "redis-server " + answer.facts.version + " is too old for a private one", fix);
  }
  return ok("redis", "none is named: a run starts redis-server " + answer.facts.version + " under OUT" +
                         (has_out ? ", " + plural(answer.facts.queued.jobs, "job") + " queued there" : ""));
}

}  // namespace nightreel::doctor

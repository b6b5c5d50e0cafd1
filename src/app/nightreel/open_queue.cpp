#include "app/nightreel/open_queue.h"

#include <filesystem>

#include "nightreel/base/error.h"

namespace nightreel::app {

void QueueFlags::add_to(CLI::App& sub) {
  sub.add_option("--queue", name, "the queue's name");
  sub.add_option("--redis", redis, "redis://[user:pass@]host[:port][/db], several separated by commas");
  sub.add_option("--out", out, "a run's OUT, whose private Redis is meant where no other is named");
}

OpenQueue open_queue(const QueueFlags& flags, const std::string& purpose, bool create) {
  OpenQueue open;
  queue::RedisQueueOptions options;
  options.name = flags.name;
  options.redis.client_name = "nightreel-" + purpose;
  if (const auto named = queue::find_redis(flags.redis, queue::process_env)) {
    options.redis.addresses = *named;
  } else if (!flags.out.empty()) {
    // Absolute, as for a run: redis-server goes to its data folder before it opens its log.
    const std::string out = std::filesystem::absolute(flags.out).lexically_normal().string();
    open.server = queue::PrivateQueue::open(out, purpose, create, base::Logger());
    options.redis.addresses = {open.server->address()};
  } else {
    throw base::Error(base::ErrorKind::usage, "which queue? Give --redis URL (or REDIS_URL), or --out OUT of a run");
  }
  open.jobs = std::make_unique<queue::RedisQueue>(options);
  open.jobs->ping();
  return open;
}

}  // namespace nightreel::app

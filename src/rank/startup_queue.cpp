// What is asked of the Redis before the renderers load their weights.
#include "nightreel/base/error.h"
#include "rank/startup.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;

bool holds_nothing(const queue::Counts& n) {
  return n.inbox + n.pending + n.delayed + n.running + n.done + n.failed + n.cancelled == 0;
}

}  // namespace

void throw_usage_together(cluster::World& world, const std::string& usage, const std::string& what) {
  const std::string refused = world.broadcast(usage, 0, kWorldDeadline, what);
  if (!refused.empty()) throw Error::of_lines(ErrorKind::usage, refused);
}

void check_queue(cluster::World& world, queue::RedisQueue& jobs, const RunOptions& options, bool own) {
  std::string usage;
  do_together(world, "the Redis", [&] {
    if (world.rank() != 0) return jobs.ping();
    jobs.check_rights();
    // A shared Redis may be filled by others; OUT's own holds what was added to it, by name.
    const bool for_nothing = own && options.files.empty() && !options.follow;
    if (for_nothing && holds_nothing(jobs.counts(""))) {
      usage = "no job file was given, and the queue of " + base::printable(options.out) +
              " is empty: name a file of jobs, or add some with nightreel submit --out";
    }
  });
  throw_usage_together(world, usage, "the queue");
}

}  // namespace nightreel::rank

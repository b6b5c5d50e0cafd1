#include "rank/startup.h"

#include "nightreel/base/error.h"
#include "nightreel/cluster/gpu_map.h"
#include "nightreel/cluster/launch_check.h"
#include "rank/startup_problem.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;

void do_together(cluster::World& world, const std::string& what, const std::function<void()>& part) {
  world.throw_together(problem_of(part), kWorldDeadline, what);
}

Device agree_devices(cluster::World& world, const RunOptions& options) {
  cluster::RankFacts facts;
  const auto problem = problem_of([&] {
    const auto environment = cluster::process_environment();
    cluster::check_launch(world.size(), options.expect_ranks, environment);
    facts = cluster::own_facts(world.rank(), world.place(), cluster::parse_device_request(options.device),
                               options.share_gpu, environment);
  });
  world.throw_together(problem, kWorldDeadline, "the launch checks");
  std::vector<cluster::RankFacts> all;
  for (const auto& text : world.all_gather(cluster::to_json(facts), kWorldDeadline, "the ranks' devices")) {
    all.push_back(cluster::rank_facts(text));
  }
  const auto map = cluster::assign_gpus(all);
  if (!map.error.empty()) throw Error(ErrorKind::environment, map.error);
  if (options.ranks_per_video > 1 && !map.sharing.empty()) {
    throw Error(ErrorKind::environment,
                map.sharing + ", and renderers of one GPU cannot meet over NCCL: --ranks-per-video " +
                    std::to_string(options.ranks_per_video) +
                    " needs a GPU for each rank; start fewer ranks, or render with one rank a video");
  }
  return {map.devices.at(static_cast<std::size_t>(world.rank())), map.sharing};
}

void check_rank_counts(const cluster::World& world, const RunOptions& options) {
  const std::string started = ", but MPI started " + std::to_string(world.size()) +
                              (world.size() == 1 ? " rank" : " ranks") +
                              ": start more (-np or --ntasks), or ask for fewer";
  if (options.ranks_per_video > world.size()) {
    throw Error(ErrorKind::environment, "--ranks-per-video " + std::to_string(options.ranks_per_video) + started);
  }
  if (options.min_ranks.value_or(1) > world.size()) {
    throw Error(ErrorKind::environment, "--min-ranks " + std::to_string(*options.min_ranks) + started);
  }
}

}  // namespace nightreel::rank

// A run from the moment when its jobs are in the queue until nothing is left for this rank: which ranks render
// together, who of them leads, and the drain loop of those that claim.
//
// Uses what belongs to the run, which must outlive it; one thread, the World's. Throws Error{environment} where the
// ranks cannot agree on their groups; what stops this rank alone stands in its summary.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/base/log.h"
#include "nightreel/cluster/groups.h"
#include "nightreel/cluster/mpi.h"
#include "nightreel/queue/inbox_taker.h"
#include "nightreel/queue/redis_queue.h"
#include "nightreel/rank/group_renderer.h"
#include "nightreel/rank/options.h"
#include "nightreel/rank/output_folder.h"
#include "nightreel/rank/renderer.h"
#include "nightreel/rank/signals.h"
#include "nightreel/rank/standing_watch.h"
#include "nightreel/report/run_summary.h"
#include "rank/list_watch.h"
#include "rank/plan.h"
#include "rank/startup.h"

namespace nightreel::rank {

struct RenderingParts {
  const RunOptions& options;
  const Plan& plan;
  const std::string& run;     // its name
  const std::string& device;  // this rank's, as RankSummary has it
  cluster::World& world;
  const OutputFolder& out;
  Signals& signals;
  const base::Logger& log;
  const std::vector<queue::RedisAddress>& addresses;
  queue::RedisQueue& jobs;
  const Loaded& loaded;
  Renderer& renderer;
  ListWatch* list;  // the first rank's; null on the others
};

class Rendering {
 public:
  explicit Rendering(const RenderingParts& parts) : p_(parts) {}
  /// Collective. Returns when this rank has nothing more to do; no renderer of it runs then.
  void run(report::RankSummary& mine);

 private:
  std::vector<std::vector<int>> groups() const;
  void stay_idle(report::RankSummary& mine) const;
  void serve(cluster::GroupLink& link, report::RankSummary& mine);
  double silence_limit_s() const;
  void lead(cluster::GroupLink& link, const Meeting& meeting, report::RankSummary& mine) const;
  std::unique_ptr<StandingWatch> watch_standing() const;
  void drain(RenderUnit& renderer, report::RankSummary& mine) const;
  queue::InboxParts inbox_parts() const;
  RenderingParts p_;
  int units_ = 0;                    // that ask for jobs, of the whole run
  std::pair<int, int> share_{0, 1};  // of looking at what stands in OUT: which one of how many
};

}  // namespace nightreel::rank

#include "rank/rendering.h"

#include <algorithm>
#include <filesystem>
#include <list>

#include "nightreel/base/error.h"
#include "nightreel/cluster/launch_check.h"
#include "nightreel/memory/model.h"
#include "nightreel/queue/inbox_entry.h"
#include "nightreel/rank/drain.h"
#include "nightreel/rank/member.h"
#include "nightreel/rank/past_times.h"
#include "nightreel/rank/remote_renderer.h"

namespace nightreel::rank {

using base::ErrorKind;
using std::chrono::milliseconds;

namespace {

constexpr double kLeastSilence_s = 10;   // of another rank: its calls to Redis, or the end of its renderer
constexpr milliseconds kPatience{2000};  // of the loop with Redis: its renderer may die meanwhile
constexpr milliseconds kInboxPatience{10'000};
constexpr milliseconds kHurry{300};  // of the same, once asked to stop

Maker maker_for(const cluster::World& world, const RunOptions& options, const Loaded& loaded) {
  Maker maker;
  maker.renderer = *loaded.ready;
  maker.ranks = loaded.on;
  maker.model_folder = std::filesystem::absolute(options.model).lexically_normal().string();
  maker.rank = world.rank();
  maker.launcher_job = cluster::launcher_job_id(cluster::process_environment());
  maker.threads = options.threads;
  maker.archive = options.archive != "none";
  maker.overwrite = options.overwrite;
  return maker;
}

}  // namespace

// Groups are planned over all ranks; those whose renderers did not come up are left out of theirs.
std::vector<std::vector<int>> Rendering::groups() const {
  std::vector<std::vector<int>> out;
  for (auto group : cluster::group_ranks(p_.world.places(), p_.options.ranks_per_video)) {
    const auto down = [&](int rank) { return !p_.loaded.up[static_cast<std::size_t>(rank)]; };
    group.erase(std::remove_if(group.begin(), group.end(), down), group.end());
    if (!group.empty()) out.push_back(group);
  }
  return out;
}

void Rendering::run(report::RankSummary& mine) {
  const auto all = groups();
  units_ = static_cast<int>(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (std::count(all[i].begin(), all[i].end(), p_.world.rank()) > 0) share_ = {static_cast<int>(i), units_};
  }
  const auto link = p_.world.split(all, kWorldDeadline);
  mine.group = link->ranks();
  const bool store = p_.device == "cpu";
  const std::string listen_on =
      store && p_.world.hosts().size() > 1 ? agree_group_interface(p_.world, link->ranks()) : "";
  if (!p_.loaded.ready) return stay_idle(mine);
  if (link->index() > 0) return serve(*link, mine);
  if (link->ranks().size() == 1) return drain(p_.renderer, mine);
  lead(*link, {store ? "store" : "nccl", listen_on}, mine);
}

void Rendering::stay_idle(report::RankSummary& mine) const {
  p_.renderer.kill();
  mine.group.clear();
  mine.error_kind = base::traits(ErrorKind::renderer).name;
  mine.error = p_.loaded.problem;
  p_.log.error("idle", "this rank stays idle: " + mine.error);
}

// A rank that is silent for a lease's time has lost its jobs, and so its group.
double Rendering::silence_limit_s() const {
  return std::max(kLeastSilence_s, static_cast<double>(p_.options.lease_s));
}

void Rendering::serve(cluster::GroupLink& link, report::RankSummary& mine) {
  const FirstRank first{p_.world.name_of(link.ranks().front()), silence_limit_s()};
  p_.log.info("member", "member of the group led by " + first.name);
  const MemberEnd end = Member(link, first, p_.renderer, p_.signals, p_.log).serve();
  if (end.kind == MemberEnd::Kind::out) {
    mine.error_kind = base::traits(ErrorKind::renderer).name;
    mine.error = "out of its group: " + end.why;
  }
  if (end.kind != MemberEnd::Kind::left) return;
  if (p_.options.shard_weights) {
    // Jobs were judged by what the group holds: alone it would claim them and fail for want of memory.
    p_.log.error("left-group", end.why + ": this rank has a shard of the model only, and stays idle");
    mine.error_kind = base::traits(ErrorKind::renderer).name;
    mine.error = "left its group, and has a shard of the model only: " + end.why;
    return;
  }
  p_.log.warn("left-group", end.why + ": this rank renders alone from now on");
  mine.group_changes.push_back("left its group and rendered alone: " + end.why);
  units_ += static_cast<int>(link.ranks().size()) - 1;
  drain(p_.renderer, mine);
}

void Rendering::lead(cluster::GroupLink& link, const Meeting& meeting, report::RankSummary& mine) const {
  std::list<RemoteRenderer> others;
  std::vector<GroupRenderer::Member> members{{p_.renderer, p_.world.rank(), p_.world.name_of(p_.world.rank())}};
  for (std::size_t at = 1; at < link.ranks().size(); ++at) {
    RemoteRank rank;
    rank.at = at;
    rank.name = p_.world.name_of(link.ranks()[at]);
    rank.log_file = renderer_log(p_.out.log_folder(p_.run), link.ranks()[at]);
    rank.silence_limit_s = silence_limit_s();
    others.emplace_back(link, rank, [this](Ask asked) { p_.signals.ask(asked); });
    members.push_back({others.back(), link.ranks()[at], rank.name});
  }
  GroupLimits limits;
  limits.loading_s = stage_limits(p_.device != "cpu", p_.options.stage_limits).load;
  GroupRenderer group(members, meeting, *p_.loaded.ready, limits, p_.log);
  drain(group, mine);
  for (RemoteRenderer& one : others) one.end();
  mine.group_changes = group.losses();
}

std::unique_ptr<StandingWatch> Rendering::watch_standing() const {
  auto jobs = std::make_unique<queue::RedisQueue>(queue_options(p_.options, p_.addresses));
  const base::CancelToken stop;
  jobs->set_patience({kPatience, stop, true});
  const auto share = [this](queue::JobQueue& queue) {
    return share_of(answered_for(queue, p_.options, p_.plan), share_.first, share_.second);
  };
  return std::make_unique<StandingWatch>(std::move(jobs), stop, p_.out, p_.world.place().host, share, p_.log);
}

void Rendering::drain(RenderUnit& renderer, report::RankSummary& mine) const {
  base::CancelToken stop;
  auto renewing = std::make_unique<queue::RedisQueue>(queue_options(p_.options, p_.addresses));
  const milliseconds renewal(p_.options.lease_s * 1000 / 3);
  renewing->set_patience({renewal, stop});
  queue::LeaseKeeper leases(std::move(renewing), renewal, stop, p_.log);
  queue::InboxTaker inbox(inbox_parts());
  queue::ClaimRequest who;
  who.out = p_.options.out;
  who.model = p_.loaded.digest;
  who.run = p_.run;
  who.host = p_.world.place().host;
  who.rank = p_.world.rank();
  who.max_attempts = p_.options.max_attempts;
  who.min_pending = units_;
  queue::RedisQueue& jobs = p_.jobs;
  jobs.set_patience({kPatience, {}, true});
  // However many ranks are idle, together they ask a thousand times a second at most.
  DrainLimits limits;
  limits.stages = stage_limits(p_.device != "cpu", p_.options.stage_limits);
  limits.poll_s = std::max(limits.poll_s, p_.world.size() / 1000.0);
  const auto hurry = [&jobs] { jobs.set_patience({kHurry, {}, true}); };
  const auto watch = watch_standing();
  const auto content = [&watch] { return watch->content(); };
  Drain({p_.options, p_.plan.card, p_.plan.recipe, p_.out, who, jobs, leases, renderer,
         Publisher(p_.out, maker_for(p_.world, p_.options, p_.loaded)), p_.signals, hurry, p_.log, limits,
         memory::device_memory_from_json(p_.loaded.ready->memory), &inbox, p_.list, true, content,
         p_.options.deadline_ms ? PastTimes(p_.out, p_.loaded.digest) : PastTimes()})
      .run(mine);
}

// Of several units one is at the inbox at a time; together they look twenty times a second at most, each twice.
queue::InboxParts Rendering::inbox_parts() const {
  queue::InboxParts parts;
  auto jobs = std::make_unique<queue::RedisQueue>(queue_options(p_.options, p_.addresses));
  jobs->set_patience({kInboxPatience, parts.stop, true});
  parts.queue = std::move(jobs);
  const std::string& root = p_.options.input_root;
  parts.validate = [root](const std::string& entry) {
    return queue::read_inbox_entry(entry, {root, root, !root.empty()});
  };
  parts.out = p_.options.out;
  parts.interval = std::max(milliseconds(500), milliseconds(50) * units_);
  parts.log = p_.log;
  return parts;
}

}  // namespace nightreel::rank

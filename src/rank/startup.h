// The steps that all ranks take together before the first job. Collective but for the job checks; each throws the same
// Error{environment} on every rank.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/cluster/mpi.h"
#include "nightreel/job/job.h"
#include "nightreel/queue/private_server.h"
#include "nightreel/queue/redis_queue.h"
#include "nightreel/rank/options.h"
#include "nightreel/rank/publisher.h"
#include "nightreel/rank/renderer.h"
#include "nightreel/rank/signals.h"

namespace nightreel::rank {

inline constexpr std::chrono::milliseconds kWorldDeadline{60'000};

/// Each rank does its part of `what`; where one fails, all throw.
void do_together(cluster::World& world, const std::string& what, const std::function<void()>& part);

struct Device {
  std::string name;     // this rank's: "cpu" or a GPU's UUID
  std::string sharing;  // which ranks of the run share a GPU, for people; empty: none. Their renderers cannot meet
};

/// Ranks that share a GPU are refused where several are to render a video together.
Device agree_devices(cluster::World& world, const RunOptions& options);

/// Groups and renderers that are asked for, against the ranks that there are.
void check_rank_counts(const cluster::World& world, const RunOptions& options);

/// What the renderer of `rank` writes.
std::string renderer_log(const std::string& log_folder, int rank);

/// `group`: the ranks that it is to render with, the world's rank among them. `together`: its first start waits for
/// load_together().
RendererCommand renderer_command(const cluster::World& world, const RunOptions& options, const std::string& device,
                                 const std::string& log_folder, const std::vector<int>& group, bool together);

/// Has the renderers read the weights together, each its share from storage; false where that cannot be: then they do
/// not run. Where they do not meet within a minute and a second a rank, or one is lost meanwhile, each reads all: five
/// minutes later at the latest, and a quarter of `load_limit_s`.
bool load_together(cluster::World& world, Renderer& renderer, bool gpu, double load_limit_s, const base::Logger& log);

/// How a renderer came by its weights, for people: bytes, seconds, GB/s.
std::string loading_text(const protocol::ReadyEvent& ready);

/// How the renderers came up.
struct Loaded {
  std::vector<bool> up;                       // each rank's
  std::vector<RenderedOn> on;                 // likewise
  std::string digest;                         // of the model, the same for all that are up
  std::optional<protocol::ReadyEvent> ready;  // this rank's
  std::string problem;                        // or why there is none
};

/// Waits for every rank's renderer (coming_up.h), each of which ends itself at `load_limit_s`; fewer than `min_ranks`
/// are too few, and their models must be the same. `together`: what load_together() said, if it was called. Throws
/// Error{interrupted} on all where one was asked to stop meanwhile.
Loaded agree_ready(cluster::World& world, Renderer& renderer, double load_limit_s, bool together, int min_ranks,
                   const Signals& signals, const base::Logger& log);

/// The renderers of `group`, the ranks that are to render with this one and are up, itself among them (a rank that is
/// not up: itself alone), meet once in a communicator, add up ones, and leave it.
void check_groups_meet(cluster::World& world, Renderer& renderer, bool gpu, const std::vector<int>& group);

/// The first of the addresses `offered` by rank `root` (the others' are ignored) that every rank reaches.
std::string agree_interface(cluster::World& world, const std::vector<std::string>& offered, int root = 0);

/// An address of the first rank in this rank's group that all of the group reach; empty where they are on one host.
/// What a rank that does not lead gets is not said.
std::string agree_group_interface(cluster::World& world, const std::vector<int>& group);

/// Rank 0 starts OUT's private server where no Redis is named, on an address that all ranks reach where they are on
/// several hosts; every rank learns where the Redis is.
std::vector<queue::RedisAddress> agree_redis(cluster::World& world, const RunOptions& options,
                                             std::optional<queue::PrivateServer>& server, const base::Logger& log);

/// Every rank reaches the Redis, whose user has the rights that a run needs. Throws Error{usage} on all where there is
/// nothing to do: no files, and OUT's `own` queue is empty and not followed.
void check_queue(cluster::World& world, queue::RedisQueue& jobs, const RunOptions& options, bool own);

/// Throws rank 0's `usage` on all as Error{usage}, where it is not empty.
void throw_usage_together(cluster::World& world, const std::string& usage, const std::string& what);

}  // namespace nightreel::rank

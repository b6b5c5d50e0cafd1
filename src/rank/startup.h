// The steps that all ranks take together before the first job. Collective but for the job checks; each throws the same
// Error{environment} on every rank.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/cluster/mpi.h"
#include "nightreel/job/job.h"
#include "nightreel/job/model_card.h"
#include "nightreel/queue/private_server.h"
#include "nightreel/rank/options.h"
#include "nightreel/rank/renderer.h"
#include "nightreel/rank/signals.h"

namespace nightreel::rank {

inline constexpr std::chrono::milliseconds kWorldDeadline{60'000};

/// Each rank does its part of `what`; where one fails, all throw.
void do_together(cluster::World& world, const std::string& what, const std::function<void()>& part);

/// This rank's device: "cpu" or a GPU's UUID.
std::string agree_devices(cluster::World& world, const RunOptions& options);

RendererCommand renderer_command(const RunOptions& options, const std::string& device, const std::string& log_folder,
                                 int rank);

/// Waits for every rank's renderer, each of which ends itself at `load_limit_s`; the models must be the same. Throws
/// Error{interrupted} on all where one was asked to stop meanwhile.
protocol::ReadyEvent agree_ready(cluster::World& world, Renderer& renderer, double load_limit_s,
                                 const Signals& signals);

/// The renderers meet once in a communicator of all, add up ones, and leave it.
void check_renderers_meet(cluster::World& world, Renderer& renderer, bool gpu);

/// The first of rank 0's addresses `offered` (the others' are ignored) that every rank reaches.
std::string agree_interface(cluster::World& world, const std::vector<std::string>& offered);

/// Rank 0 starts OUT's private server where no Redis is named, on an address that all ranks reach where they are on
/// several hosts; every rank learns where the Redis is.
std::vector<queue::RedisAddress> agree_redis(cluster::World& world, const RunOptions& options,
                                             std::optional<queue::PrivateServer>& server, const base::Logger& log);

}  // namespace nightreel::rank

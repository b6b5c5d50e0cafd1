// From the renderers' start to the moment when all have come up, and those that are to render together have met.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "nightreel/base/error.h"
#include "nightreel/cluster/gpu_map.h"
#include "nightreel/cluster/reachable.h"
#include "nightreel/protocol/engine_options.h"
#include "rank/coming_up.h"
#include "rank/startup.h"
#include "rank/startup_problem.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using Addresses = std::vector<std::string>;

constexpr double kMeetLimit_s = 60;  // and for each rank one more
constexpr double kWordOfIt_s = 30;   // for a renderer to say that its meeting has failed
constexpr double kLoadExchange_s = 300;

double meet_limit_s(int ranks) {
  return kMeetLimit_s + ranks;
}

protocol::RendezvousEvent wait_rendezvous(Renderer& renderer, double limit_s) {
  const base::Stopwatch watch;
  while (watch.seconds() < limit_s) {
    const auto event = renderer.poll(std::chrono::milliseconds(50));
    if (!event && !renderer.running()) throw Error(ErrorKind::renderer, "its renderer does not run");
    if (!event) continue;
    if (!event->message) throw Error(ErrorKind::renderer, "its renderer ended: " + event->died);
    if (event->message->type == "rendezvous") return protocol::rendezvous_event(*event->message);
    if (event->message->type == "failed") {
      const auto failed = protocol::failed_event(*event->message);
      throw Error(failed.kind, failed.message);
    }
  }
  throw Error(ErrorKind::comm, "the renderers did not meet within " + base::human_duration(limit_s));
}

protocol::RendezvousEvent meet(Renderer& renderer, const protocol::GroupRequest& request) {
  try {
    renderer.send(protocol::encode(request));
  } catch (const Error&) {
    // Its pipe is closed: what follows says how it ended.
  }
  return wait_rendezvous(renderer, meet_limit_s(request.size) + kWordOfIt_s);
}

std::int64_t milliseconds_of(double seconds) {
  return std::llround(1000 * seconds);
}

// The place of `rank` among `members`, without an address yet.
protocol::GroupRequest request_for(int rank, bool gpu, const std::vector<int>& members) {
  protocol::GroupRequest request;
  request.backend = gpu ? "nccl" : "store";
  request.rank = static_cast<int>(std::find(members.begin(), members.end(), rank) - members.begin());
  request.size = static_cast<int>(members.size());
  return request;
}

// NVML numbers processes as the driver's namespace does: in a container it may not know ours, and nothing is waited
// for.
std::function<bool(pid_t)> gpu_lists(const std::string& device) {
  if (device == "cpu") return nullptr;
  const auto nvml = std::make_shared<const cluster::Nvml>(cluster::process_environment());
  return [nvml, device](pid_t process) {
    const auto listed = nvml->processes(device);
    return std::find(listed.begin(), listed.end(), process) != listed.end();
  };
}

// Of the ranks whose renderers came up; the fix where they differ.
std::string one_digest(const cluster::World& world, const std::vector<std::string>& digests) {
  std::optional<int> first;
  for (int rank = 0; rank < world.size(); ++rank) {
    const std::string& mine = digests[static_cast<std::size_t>(rank)];
    if (mine.empty()) continue;
    if (!first) first = rank;
    if (mine == digests[static_cast<std::size_t>(*first)]) continue;
    throw Error(ErrorKind::environment, world.name_of(rank) + " has another model under the same path than " +
                                            world.name_of(*first) + ": copy one model to all hosts");
  }
  return digests[static_cast<std::size_t>(first.value())];
}

}  // namespace

std::string renderer_log(const std::string& log_folder, int rank) {
  return log_folder + "/renderer-" + std::to_string(rank) + ".log";
}

RendererCommand renderer_command(const cluster::World& world, const RunOptions& options, const std::string& device,
                                 const std::string& log_folder, const std::vector<int>& group, bool together) {
  const int rank = world.rank();
  protocol::EngineOptions engine;
  engine.model = options.model;
  engine.device = device == "cpu" ? device : "cuda:" + device;
  engine.dtype = options.dtype;
  engine.threads = options.threads;
  engine.stage = options.stage_weights;
  if (options.shard_weights) {
    const auto member = std::find(group.begin(), group.end(), rank) - group.begin();
    engine.shard = {static_cast<int>(member), static_cast<int>(group.size())};
  }
  protocol::EngineOptions first;
  first.load_group = together;
  // One that is started again finds the others' memory taken already.
  if (device != "cpu") first.host_ranks = world.place().local_size;
  RendererCommand command;
  command.argv = protocol::renderer_argv(engine);
  command.first_argv = protocol::more_argv(first);
  command.stderr_path = renderer_log(log_folder, rank);
  command.environment.more = options.renderer_env;
  command.on_gpu = gpu_lists(device);
  command.loading_limit_s = stage_limits(device != "cpu", options.stage_limits).load;
  return command;
}

Loaded agree_ready(cluster::World& world, Renderer& renderer, double load_limit_s, bool together, int min_ranks,
                   const Signals& signals, const base::Logger& log) {
  Loaded mine;
  bool stopped = false;
  const ComingUp how{together, meet_limit_s(world.size()), load_limit_s};
  const auto problem = problem_of([&] {
    try {
      mine.ready = come_up(
          renderer, how, [&] { return signals.asked() != Ask::go_on; }, log);
    } catch (const Error& e) {
      stopped = e.kind() == ErrorKind::interrupted;
      if (!stopped) throw;
    }
  });
  // The last start may come just before the limit, and takes at most as long again.
  const std::chrono::milliseconds limit(milliseconds_of(2 * load_limit_s));
  const json word{{"digest", mine.ready ? mine.ready->model_digest : ""},
                  {"stopped", stopped},
                  {"gpu", mine.ready ? mine.ready->device : ""},
                  {"gpu_uuid", mine.ready ? mine.ready->device_uuid : ""}};
  const auto words = world.all_gather(word.dump(), limit + kWorldDeadline, "the renderers");
  std::vector<std::string> digests;
  for (int rank = 0; rank < world.size(); ++rank) {
    const json said = json::parse(words[static_cast<std::size_t>(rank)]);
    if (said.at("stopped")) {
      throw Error(ErrorKind::interrupted, world.name_of(rank) + " was asked to stop while its renderer was loading");
    }
    digests.push_back(said.at("digest"));
    mine.up.push_back(!digests.back().empty());
    mine.on.push_back({world.places()[static_cast<std::size_t>(rank)].host, said.at("gpu"), said.at("gpu_uuid")});
  }
  if (std::count(mine.up.begin(), mine.up.end(), true) < min_ranks) {
    world.throw_together(problem, kWorldDeadline, "the renderers");
  }
  mine.digest = one_digest(world, digests);
  mine.problem = problem.value_or("");
  return mine;
}

// Of the limit of loading most is for those who have to read alone after all.
bool load_together(cluster::World& world, Renderer& renderer, bool gpu, double load_limit_s, const base::Logger& log) {
  std::vector<int> all(static_cast<std::size_t>(world.size()));
  std::iota(all.begin(), all.end(), 0);
  protocol::GroupRequest request = request_for(world.rank(), gpu, all);
  // NCCL finds its ways by itself; the store listens where it is told to.
  const bool apart = !gpu && world.hosts().size() > 1;
  request.deadline_ms = milliseconds_of(std::min(kLoadExchange_s, load_limit_s / 4));
  std::string address;
  auto problem = problem_of([&] {  // the same on all ranks
    const bool offers = apart && world.rank() == 0;
    if (apart) request.listen_on = agree_interface(world, offers ? cluster::host_addresses() : Addresses{});
  });
  if (!problem && world.rank() == 0) problem = problem_of([&] { address = meet(renderer, request).address; });
  if (problem && world.rank() == 0) {
    log.warn("load-alone", "every renderer is started anew and reads all weights itself: " + *problem);
  }
  const std::chrono::milliseconds limit(milliseconds_of(meet_limit_s(world.size()) + kWordOfIt_s));
  request.address = world.broadcast(address, 0, limit + kWorldDeadline, "the rendezvous for loading");
  if (request.address.empty()) {
    renderer.kill();
    return false;
  }
  try {
    renderer.send(protocol::encode(request));
  } catch (const Error&) {
    // It has ended: who waits for its `ready` starts it again. The others read alone once the deadline has passed.
  }
  return true;
}

std::string loading_text(const protocol::ReadyEvent& ready) {
  const auto gigabytes = static_cast<double>(ready.load.bytes_read) / 1e9;
  std::ostringstream text;
  text << "read " << ready.load.bytes_read << " bytes of weights in " << std::fixed << std::setprecision(2)
       << ready.load_s << " s, " << (ready.load_s > 0 ? gigabytes / ready.load_s : 0) << " GB/s"
       << (ready.load.shared ? "; the other ranks read the rest" : "");
  return text.str();
}

void check_groups_meet(cluster::World& world, Renderer& renderer, bool gpu, const std::vector<int>& group) {
  protocol::GroupRequest request = request_for(world.rank(), gpu, group);
  request.deadline_ms = milliseconds_of(meet_limit_s(request.size));
  if (!gpu && world.hosts().size() > 1) request.listen_on = agree_group_interface(world, group);
  const bool meets = group.size() > 1;
  const std::chrono::milliseconds limit(milliseconds_of(meet_limit_s(world.size()) + kWordOfIt_s));
  std::string address;
  world.throw_together(problem_of([&] {
                         if (meets && world.rank() == group[0]) address = meet(renderer, request).address;
                       }),
                       limit + kWorldDeadline, "the renderers' rendezvous");
  const auto addresses = world.all_gather(address, kWorldDeadline, "the rendezvous addresses");
  request.address = addresses[static_cast<std::size_t>(group[0])];
  world.throw_together(problem_of([&] {
                         if (meets) meet(renderer, request);
                       }),
                       limit + kWorldDeadline, "the renderers' meeting");
}

}  // namespace nightreel::rank

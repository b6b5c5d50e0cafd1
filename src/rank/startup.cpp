#include "rank/startup.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/cluster/gpu_map.h"
#include "nightreel/cluster/launch_check.h"
#include "nightreel/cluster/reachable.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr double kMeetLimitSeconds = 90;
constexpr std::chrono::milliseconds kProbeLimit{5000};
const std::string kStopped = "stopped";  // where a digest is expected

// Runs `work`; its failure becomes this rank's problem, for throw_together.
template <typename Work>
std::optional<std::string> problem_of(Work work) {
  try {
    work();
    return std::nullopt;
  } catch (const Error& e) {
    return e.what();
  }
}

protocol::RendezvousEvent wait_rendezvous(Renderer& renderer) {
  const base::Stopwatch watch;
  while (watch.seconds() < kMeetLimitSeconds) {
    const auto event = renderer.poll(std::chrono::milliseconds(50));
    if (!event) continue;
    if (!event->message) throw Error(ErrorKind::renderer, "its renderer ended: " + event->died);
    if (event->message->type == "rendezvous") return protocol::rendezvous_event(*event->message);
    if (event->message->type == "failed") {
      const auto failed = protocol::failed_event(*event->message);
      throw Error(failed.kind, failed.message);
    }
  }
  throw Error(ErrorKind::comm, "the renderers did not meet within " + base::human_duration(kMeetLimitSeconds));
}

protocol::RendezvousEvent meet(Renderer& renderer, const protocol::GroupRequest& request) {
  try {
    renderer.send(protocol::encode(request));
  } catch (const Error&) {
    // Its pipe is closed: what follows says how it ended.
  }
  return wait_rendezvous(renderer);
}

// "10.0.0.5 (not reached by rank 1 on host b), …", with the fix.
std::string why_none(const cluster::World& world, const std::vector<cluster::ProbeListener::Door>& doors,
                     const std::vector<std::string>& answers) {
  std::string out;
  for (std::size_t door = 0; door < doors.size(); ++door) {
    std::string ranks;
    for (std::size_t rank = 0; rank < answers.size(); ++rank) {
      if (answers[rank].at(door) != '1') ranks += (ranks.empty() ? "" : ", ") + world.name_of(static_cast<int>(rank));
    }
    out += (door == 0 ? "" : "; ") + doors[door].address + " (not reached by " + ranks + ")";
  }
  return "no network address of " + world.name_of(0) +
         " is reached by all ranks: " + (out.empty() ? "it has none but loopback" : out) +
         "; let the hosts reach each other, or name a Redis with --redis";
}

}  // namespace

void do_together(cluster::World& world, const std::string& what, const std::function<void()>& part) {
  world.throw_together(problem_of(part), kWorldDeadline, what);
}

std::string agree_devices(cluster::World& world, const RunOptions& options) {
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
  return map.devices.at(static_cast<std::size_t>(world.rank()));
}

namespace {

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

}  // namespace

RendererCommand renderer_command(const RunOptions& options, const std::string& device, const std::string& log_folder,
                                 int rank) {
  RendererCommand command;
  command.argv = {base::companion("nightreel-engine"),
                  "render",
                  "--model",
                  options.model,
                  "--device",
                  device == "cpu" ? device : "cuda:" + device,
                  "--dtype",
                  options.dtype,
                  "--threads",
                  std::to_string(options.threads)};
  command.stderr_path = log_folder + "/renderer-" + std::to_string(rank) + ".log";
  command.on_gpu = gpu_lists(device);
  command.loading_limit_s = stage_limits(device != "cpu", options.stage_limits).load;
  return command;
}

protocol::ReadyEvent agree_ready(cluster::World& world, Renderer& renderer, double load_limit_s,
                                 const Signals& signals) {
  protocol::ReadyEvent ready;
  bool stopped = false;
  const auto problem = problem_of([&] {
    try {
      ready = renderer.wait_ready([&] { return signals.asked() != Ask::go_on; });
    } catch (const Error& e) {
      stopped = e.kind() == ErrorKind::interrupted;
      if (!stopped) throw;
    }
  });
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(load_limit_s));
  world.throw_together(problem, limit + kWorldDeadline, "the renderers");
  const auto digests = world.all_gather(stopped ? kStopped : ready.model_digest, kWorldDeadline, "the model's digest");
  for (int rank = 0; rank < world.size(); ++rank) {
    if (digests[static_cast<std::size_t>(rank)] == kStopped) {
      throw Error(ErrorKind::interrupted, world.name_of(rank) + " was asked to stop while its renderer was loading");
    }
  }
  for (int rank = 0; rank < world.size(); ++rank) {
    if (digests[static_cast<std::size_t>(rank)] != digests[0]) {
      throw Error(ErrorKind::environment, world.name_of(rank) + " has another model under the same path than " +
                                              world.name_of(0) + ": copy one model to all hosts");
    }
  }
  return ready;
}

void check_renderers_meet(cluster::World& world, Renderer& renderer, bool gpu) {
  protocol::GroupRequest request;
  request.backend = gpu ? "nccl" : "store";
  request.rank = world.rank();
  request.size = world.size();
  // NCCL finds its ways by itself; the store listens where it is told to.
  if (!gpu && world.hosts().size() > 1) {
    request.listen_on =
        agree_interface(world, world.rank() == 0 ? cluster::host_addresses() : std::vector<std::string>{});
  }
  std::string address;
  world.throw_together(problem_of([&] {
                         if (world.rank() != 0) return;
                         address = meet(renderer, request).address;
                       }),
                       std::chrono::minutes(3), "the renderers' rendezvous");
  request.address = world.broadcast(address, 0, kWorldDeadline, "the rendezvous address");
  world.throw_together(problem_of([&] { meet(renderer, request); }), std::chrono::minutes(3), "the renderers' meeting");
}

std::string agree_interface(cluster::World& world, const std::vector<std::string>& offered) {
  std::optional<cluster::ProbeListener> listener;
  json offer = json::object();
  do_together(world, "the network between the hosts", [&] {
    if (world.rank() != 0) return;
    listener.emplace(offered);
    offer["word"] = listener->word();
    offer["doors"] = json::array();
    for (const auto& door : listener->doors()) offer["doors"].push_back({door.address, door.port});
  });
  offer = json::parse(world.broadcast(offer.dump(), 0, kWorldDeadline, "rank 0's addresses"));
  std::vector<cluster::ProbeListener::Door> doors;
  for (const auto& door : offer.at("doors")) doors.push_back({door.at(0), door.at(1)});
  const auto answers =
      world.all_gather(cluster::try_doors(doors, offer.at("word"), kProbeLimit), kWorldDeadline, "rank 0's addresses");
  if (const auto chosen = cluster::first_for_all(doors.size(), answers)) return doors[*chosen].address;
  throw Error(ErrorKind::environment, why_none(world, doors, answers));
}

std::vector<queue::RedisAddress> agree_redis(cluster::World& world, const RunOptions& options,
                                             std::optional<queue::PrivateServer>& server, const base::Logger& log) {
  std::vector<queue::RedisAddress> addresses;
  std::vector<std::string> offered;
  const bool several = world.hosts().size() > 1;
  do_together(world, "the Redis", [&] {
    if (world.rank() != 0) return;
    if (const auto named = queue::find_redis(options.redis, queue::process_env)) addresses = *named;
    if (addresses.empty() && several) offered = cluster::host_addresses();
  });
  const bool own = world.broadcast(addresses.empty() ? "own" : "", 0, kWorldDeadline, "the Redis") == "own";
  const std::string interface = own && several ? agree_interface(world, offered) : "";
  world.throw_together(problem_of([&] {
                         if (world.rank() != 0 || !own) return;
                         queue::PrivateServerOptions wanted;
                         wanted.out = options.out;
                         wanted.interface = interface;
                         wanted.log = log;
                         server.emplace(wanted);
                         addresses = {server->address()};
                       }),
                       std::chrono::minutes(2), "the Redis");
  return queue::addresses_from_json(world.broadcast(queue::to_json(addresses), 0, kWorldDeadline, "the Redis address"));
}

}  // namespace nightreel::rank

// From the renderers' start to the moment when all that came up have met.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/cluster/gpu_map.h"
#include "nightreel/cluster/reachable.h"
#include "rank/startup.h"
#include "rank/startup_problem.h"

namespace nightreel::rank {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr double kMeetLimitSeconds = 90;

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
  command.stderr_path = renderer_log(log_folder, rank);
  command.on_gpu = gpu_lists(device);
  command.loading_limit_s = stage_limits(device != "cpu", options.stage_limits).load;
  return command;
}

Loaded agree_ready(cluster::World& world, Renderer& renderer, double load_limit_s, int min_ranks,
                   const Signals& signals) {
  Loaded mine;
  bool stopped = false;
  const auto problem = problem_of([&] {
    try {
      mine.ready = renderer.wait_ready([&] { return signals.asked() != Ask::go_on; });
    } catch (const Error& e) {
      stopped = e.kind() == ErrorKind::interrupted;
      if (!stopped) throw;
    }
  });
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(load_limit_s));
  const json word{{"digest", mine.ready ? mine.ready->model_digest : ""}, {"stopped", stopped}};
  const auto words = world.all_gather(word.dump(), limit + kWorldDeadline, "the renderers");
  std::vector<std::string> digests;
  for (int rank = 0; rank < world.size(); ++rank) {
    const json said = json::parse(words[static_cast<std::size_t>(rank)]);
    if (said.at("stopped")) {
      throw Error(ErrorKind::interrupted, world.name_of(rank) + " was asked to stop while its renderer was loading");
    }
    digests.push_back(said.at("digest"));
    mine.up.push_back(!digests.back().empty());
  }
  if (std::count(mine.up.begin(), mine.up.end(), true) < min_ranks) {
    world.throw_together(problem, kWorldDeadline, "the renderers");
  }
  mine.digest = one_digest(world, digests);
  mine.problem = problem.value_or("");
  return mine;
}

void check_renderers_meet(cluster::World& world, Renderer& renderer, bool gpu, const std::vector<bool>& up) {
  const auto here = up.begin() + world.rank();
  const int first = static_cast<int>(std::find(up.begin(), up.end(), true) - up.begin());
  protocol::GroupRequest request;
  request.backend = gpu ? "nccl" : "store";
  request.rank = static_cast<int>(std::count(up.begin(), here, true));
  request.size = static_cast<int>(std::count(up.begin(), up.end(), true));
  // NCCL finds its ways by itself; the store listens where it is told to.
  if (!gpu && world.hosts().size() > 1) {
    const bool offers = world.rank() == first;
    request.listen_on = agree_interface(world, offers ? cluster::host_addresses() : std::vector<std::string>{}, first);
  }
  std::string address;
  world.throw_together(problem_of([&] {
                         if (world.rank() != first) return;
                         address = meet(renderer, request).address;
                       }),
                       std::chrono::minutes(3), "the renderers' rendezvous");
  request.address = world.broadcast(address, first, kWorldDeadline, "the rendezvous address");
  world.throw_together(problem_of([&] {
                         if (*here) meet(renderer, request);
                       }),
                       std::chrono::minutes(3), "the renderers' meeting");
}

}  // namespace nightreel::rank

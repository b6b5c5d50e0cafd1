// From the renderers' start to the moment when all that came up have met.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

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
constexpr double kLoadExchange_s = 300;
const std::string kLoadGroup = "--load-group";  // the engine loads once it has been told whom to load with

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

int first_of(const std::vector<bool>& up) {
  return static_cast<int>(std::find(up.begin(), up.end(), true) - up.begin());
}

// This rank's place among those that are up, without an address yet.
protocol::GroupRequest request_for(cluster::World& world, bool gpu, const std::vector<bool>& up) {
  protocol::GroupRequest request;
  request.backend = gpu ? "nccl" : "store";
  request.rank = static_cast<int>(std::count(up.begin(), up.begin() + world.rank(), true));
  request.size = static_cast<int>(std::count(up.begin(), up.end(), true));
  // NCCL finds its ways by itself; the store listens where it is told to.
  if (!gpu && world.hosts().size() > 1) {
    const bool offers = world.rank() == first_of(up);
    request.listen_on =
        agree_interface(world, offers ? cluster::host_addresses() : std::vector<std::string>{}, first_of(up));
  }
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

RendererCommand renderer_command(const RunOptions& options, const std::string& device, const std::string& log_folder,
                                 int rank, const std::vector<int>& group, bool together) {
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
  if (!options.stage_weights.empty()) {
    command.argv.insert(command.argv.end(), {"--stage-weights", options.stage_weights});
  }
  if (options.shard_weights) {
    const auto seat = std::find(group.begin(), group.end(), rank) - group.begin();
    command.argv.insert(command.argv.end(),
                        {"--shard-weights", std::to_string(seat) + "/" + std::to_string(group.size())});
  }
  command.stderr_path = renderer_log(log_folder, rank);
  command.on_gpu = gpu_lists(device);
  if (together) command.first_argv = {kLoadGroup};
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
void load_together(cluster::World& world, Renderer& renderer, bool gpu, double load_limit_s, const base::Logger& log) {
  const std::vector<bool> all(static_cast<std::size_t>(world.size()), true);
  protocol::GroupRequest request = request_for(world, gpu, all);
  request.deadline_ms = std::llround(1000 * std::min(kLoadExchange_s, load_limit_s / 4));
  std::string address;
  if (world.rank() == 0) {
    const auto problem = problem_of([&] { address = meet(renderer, request).address; });
    if (problem) log.warn("load-alone", "every renderer reads all weights itself: " + *problem);
  }
  request.address = world.broadcast(address, 0, std::chrono::minutes(3), "the rendezvous for loading");
  if (request.address.empty()) {
    return do_together(world, "the renderers' start", [&] {
      renderer.kill();
      renderer.start();
    });
  }
  try {
    renderer.send(protocol::encode(request));
  } catch (const Error&) {
    // It has ended: who waits for its `ready` says how. The others read alone once the deadline has passed.
  }
}

std::string loading_text(const protocol::ReadyEvent& ready) {
  const auto gigabytes = static_cast<double>(ready.load.bytes_read) / 1e9;
  std::ostringstream text;
  text << "read " << ready.load.bytes_read << " bytes of weights in " << std::fixed << std::setprecision(2)
       << ready.load_s << " s, " << (ready.load_s > 0 ? gigabytes / ready.load_s : 0) << " GB/s"
       << (ready.load.shared ? "; the other ranks read the rest" : "");
  return text.str();
}

void check_renderers_meet(cluster::World& world, Renderer& renderer, bool gpu, const std::vector<bool>& up) {
  const auto here = up.begin() + world.rank();
  const int first = first_of(up);
  protocol::GroupRequest request = request_for(world, gpu, up);
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

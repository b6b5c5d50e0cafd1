#include "nightreel/doctor/bench_comm.h"

#include <algorithm>
#include <sstream>

#include "doctor/gpus.h"
#include "doctor/group.h"
#include "doctor/renderers.h"
#include "nightreel/cluster/launch_check.h"

namespace nightreel::doctor {
namespace {

using base::Error;
using base::ErrorKind;

// The first failure among the findings ends the bench, on every rank alike.
void refuse(const Findings& findings) {
  for (const Finding& one : findings) {
    if (one.level == Level::failure) throw Error(ErrorKind::environment, one.text + ": " + one.fix);
  }
}

std::vector<std::string> agree_devices(const Context& context) {
  const auto& options = context.options;
  const auto request = cluster::parse_device_request(options.device);
  const auto answers =
      gather<GpuFacts>(context, "gpus",
                       [rank = context.world.rank(), place = context.world.place(), request, share = options.share_gpu,
                        env = context.environment] { return gpu_facts(rank, place, request, share, env); });
  const auto judged = judge_gpus(context.places(), answers);
  refuse(judged.findings);
  return judged.devices;
}

std::vector<Answer<RendererFacts>> start_all(const Context& context, ProbeRenderer& renderer,
                                             const std::string& device) {
  const auto limit = context.patient.limit();
  const auto answers = gather_here<RendererFacts>(context, "engine", context.meeting() + limit,
                                                  [&] { return start_renderer(renderer, device, limit); });
  refuse(failures_of("engine", context.places(), answers, "nightreel doctor says more"));
  refuse(failures("engine", context.places(), values_of(answers, [](const RendererFacts& f) { return f.gpu_problem; }),
                  "nightreel doctor says more"));
  return answers;
}

std::string as_json(const std::vector<GroupResult>& results, bool gpu, const RendererFacts& engine, int ranks) {
  base::Json rows = base::Json::array();
  for (const GroupResult& one : results) {
    rows.push_back({{"group", one.group},
                    {"ranks", one.size},
                    {"exchange", one.name},
                    {"verb", one.verb},
                    {"bytes", one.bytes},
                    {"seconds", one.seconds},
                    {"gigabytes_a_second", one.gigabytes_a_second()},
                    {"correct", one.correct}});
  }
  return base::Json{{"ranks", ranks},
                    {"backend", gpu ? "nccl" : "store"},
                    {"device", engine.device},
                    {"versions", engine.versions},
                    {"exchanges", rows}}
             .dump(-1, ' ', false, base::Json::error_handler_t::replace) +
         "\n";
}

std::string as_text(const std::vector<GroupResult>& results, bool gpu, const RendererFacts& engine) {
  std::ostringstream text;
  text << "over " << (gpu ? "NCCL" : "the store (CPU: for correctness, not for speed)") << " between " << engine.device
       << "; GB/s of each member's link, bytes each member sends\n";
  text.precision(3);
  for (const GroupResult& one : results) {
    text << "group " << one.group << " of " << one.size << "  " << one.verb << "  " << one.name << "  " << one.bytes
         << " B  " << one.seconds * 1000 << " ms  " << one.gigabytes_a_second() << " GB/s  "
         << (one.correct ? "every byte right" : "WRONG BYTES") << "\n";
  }
  return text.str();
}

Options doctor_options(const CommBenchOptions& given) {
  Options options;
  options.device = given.device;
  options.share_gpu = given.share_gpu;
  options.patience = given.patience;
  return options;
}

}  // namespace

int bench_comm(const CommBenchOptions& given, const std::function<void(const std::string&)>& print) {
  const Options options = doctor_options(given);
  cluster::World world(kWorldDeadline);
  const Context context{options, world, cluster::process_environment(), Patient(options.patience)};
  cluster::check_launch(world.size(), given.expect_ranks, context.environment);
  const auto devices = agree_devices(context);
  const std::string& device = devices.at(static_cast<std::size_t>(world.rank()));
  ProbeRenderer renderer(given.renderer_env);
  const auto engines = start_all(context, renderer, device);
  GroupPlan plan;
  plan.group_size = given.ranks_per_video;
  plan.gpu = device != "cpu";
  plan.repeats = given.repeats;
  plan.bytes = given.bytes;
  if (!plan.gpu) {
    plan.roads = try_roads(context, gather<NetworkFacts>(context, "interfaces",
                                                         [env = context.environment] { return network_facts(env); }));
  }
  const auto answers = probe_groups(context, renderer, plan);
  renderer.stop();
  refuse(failures_of("group", context.places(), answers, "nightreel doctor says more"));
  const auto results = group_results(answers);
  if (context.first()) {
    print(given.json ? as_json(results, plan.gpu, engines.front().facts, world.size())
                     : as_text(results, plan.gpu, engines.front().facts));
  }
  const bool right = std::all_of(results.begin(), results.end(), [](const GroupResult& one) { return one.correct; });
  world.all_gather("", context.meeting(), "the end");  // rank 0 has printed before any rank ends
  return right ? 0 : 1;
}

}  // namespace nightreel::doctor

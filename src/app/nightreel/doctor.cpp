// `doctor`: checks of the launch, the hosts, GPUs, NCCL, Redis, storage and the model; `bench comm`: their renderers'
// exchanges, measured and checked. Alone or under mpirun or srun, one rank a GPU.
#include "nightreel/doctor/doctor.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "app/common/outputs.h"
#include "app/nightreel/renderer_env.h"
#include "app/nightreel/subcommands.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/doctor/bench_comm.h"

namespace nightreel::app {
namespace {

// One write: under mpirun the ranks' outputs are mixed.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int start_doctor(const doctor::Options& options, bool json) {
  doctor::Hooks hooks;
  hooks.show = [json](const doctor::Report& report) {
    print(json ? doctor::to_json(report) + "\n" : doctor::to_text(report));
  };
  hooks.leave = [](int code) { ::_exit(written_out(code)); };
  return doctor::examine(options, hooks);
}

void add_launch_flags(CLI::App& sub, std::string& device, bool& share_gpu, std::optional<int>& expect_ranks,
                      std::chrono::seconds& patience, std::vector<std::string>& renderer_env) {
  add_renderer_env(sub, renderer_env);
  sub.add_option("--device", device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  sub.add_flag("--share-gpu", share_gpu, "let several ranks use one GPU");
  sub.add_option("--expect-ranks", expect_ranks, "how many ranks there should be")->check(CLI::Range(1, 1 << 20));
  sub.add_option_function<int>(
         "--patience", [&patience](int seconds) { patience = std::chrono::seconds(seconds); },
         "seconds for one check of one rank (60)")
      ->check(CLI::Range(1, 3600));
}

struct BenchFlags {
  doctor::CommBenchOptions options;
  std::string bytes;
};

int start_bench(BenchFlags flags) {
  if (!flags.bytes.empty()) flags.options.bytes = base::parse_size(flags.bytes);
  return doctor::bench_comm(flags.options, print);
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  auto options = std::make_shared<doctor::Options>();
  auto json = std::make_shared<bool>(false);
  CLI::App* sub = app.add_subcommand("doctor", "checks MPI, GPUs, NCCL, Redis, storage and the model");
  sub->add_flag("--json", *json, "as one JSON object");
  sub->add_option("--model", options->model, "folder of a Wan model: the same on all hosts?");
  sub->add_option("--out", options->out, "a run's OUT: can all ranks write there?");
  sub->add_option("--redis", options->redis, "URL[,URL…], as for run");
  sub->add_option("--queue", options->queue, "the queue's name")->capture_default_str();
  sub->add_option("--ranks-per-video", options->ranks_per_video,
                  "as for run: above 1 renderers that do not meet are a failure")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add_launch_flags(*sub, options->device, options->share_gpu, options->expect_ranks, options->patience,
                   options->renderer_env);
  sub->callback([&action, options, json] { action = [options, json] { return start_doctor(*options, *json); }; });
}

void add_bench_comm(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  auto& o = flags->options;
  CLI::App* bench = app.add_subcommand("bench", "all but comm is nightreel-engine's");
  bench->require_subcommand(1)->group("");  // not in --help: engine_subcommands() lists it
  CLI::App* sub = bench->add_subcommand("comm", "all-to-all and all-gather between renderers, every byte checked");
  sub->add_flag("--json", o.json, "as one JSON object");
  sub->add_option("--ranks-per-video", o.ranks_per_video, "groups of so many neighbours; 0: all ranks in one")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  sub->add_option("--bytes", flags->bytes, "that each rank sends, e.g. 16MiB; default: the sizes that Wan needs");
  sub->add_option("--repeats", o.repeats, "of each exchange; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_launch_flags(*sub, o.device, o.share_gpu, o.expect_ranks, o.patience, o.renderer_env);
  sub->callback([&action, flags] { action = [flags] { return start_bench(*flags); }; });
}

}  // namespace nightreel::app

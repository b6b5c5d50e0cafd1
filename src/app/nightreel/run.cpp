// `run`: the main job. Started by mpirun or srun, one rank a GPU; alone it is a world of one rank.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "app/common/setting_flags.h"
#include "app/nightreel/renderer_env.h"
#include "app/nightreel/subcommands.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/rank/run.h"

namespace nightreel::app {
namespace {

struct RunFlags {
  std::int64_t started_ms = base::now_ms();  // what a deadline is counted from
  rank::RunOptions options;
  std::string deadline;
  std::string min_free;
  std::string stage_limits;
  std::string recipe;
  std::string log_format = "auto";
  std::string progress = "auto";
};

void draw_on_terminal(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

// Messages about a value say whose it is.
template <typename Parse>
auto value_of(const char* flag, Parse parse) {
  try {
    return parse();
  } catch (const base::Error& e) {
    throw base::Error(e.kind(), std::string(flag) + ": " + e.what());
  }
}

int start(RunFlags flags) {
  auto& options = flags.options;
  if (options.shard_weights && options.ranks_per_video < 2) {
    throw base::Error(
        base::ErrorKind::usage,
        "--shard-weights deals the weights out to the ranks of a group: give --ranks-per-video 2 or more");
  }
  if (!flags.deadline.empty()) {
    const auto wait_s = value_of("--deadline", [&] { return base::parse_duration(flags.deadline, flags.started_ms); });
    options.deadline_ms = flags.started_ms + static_cast<std::int64_t>(1000 * wait_s);
  }
  if (!flags.min_free.empty()) {
    options.min_free = value_of("--min-free", [&] { return base::parse_size(flags.min_free); });
  }
  options.stage_limits = value_of("--stage-limits", [&] { return rank::parse_stage_limits(flags.stage_limits); });
  options.recipe = job::recipe_choice(flags.recipe);
  options.log_format = flags.log_format == "json" ? base::LogFormat::json : base::LogFormat::text;
  const bool text = options.log_format == base::LogFormat::text;
  const bool live = flags.progress == "live" || (flags.progress == "auto" && text && ::isatty(STDERR_FILENO) == 1);
  if (live) options.draw = draw_on_terminal;
  options.show = show;
  return rank::run(options);
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  auto& o = flags->options;
  CLI::App* sub = app.add_subcommand("run", "adds the files' jobs, drains the queue, exits");
  sub->add_option("jobs", o.files, "JSON lines files");
  sub->add_option("--model", o.model, "folder of a Wan model, in Diffusers' layout or the original one")->required();
  sub->add_option("--out", o.out, "folder for everything that the run makes, the same for all ranks")->required();
  sub->add_option("--queue", o.queue, "the queue's name")->capture_default_str();
  sub->add_option("--redis", o.redis, "URL[,URL…]; without one, OUT gets a private Redis");
  sub->add_option("--device", o.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  sub->add_option("--dtype", o.dtype,
                  "auto (bf16 on a GPU, f32 on a CPU), bf16, f32, or fp8: auto, with weights in fp8")
      ->check(CLI::IsMember({"auto", "bf16", "f32", "fp8"}))
      ->capture_default_str();
  sub->add_option("--threads", o.threads, "CPU threads a renderer")->check(CLI::Range(1, 1024))->capture_default_str();
  sub->add_option("--ranks-per-video", o.ranks_per_video, "so many neighbours render one video together")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  sub->add_flag("--shard-weights", o.shard_weights,
                "each rank of a group keeps its share of the transformer, for GPUs too small for it; the rest is "
                "gathered block by block");
  sub->add_option("--min-ranks", o.min_ranks, "how many renderers must come up; default: all")
      ->check(CLI::Range(1, 1 << 20));
  sub->add_option("--load", o.load,
                  "together: each rank reads its share of the weights and the others' come from them; alone: each "
                  "reads all; auto: together on GPUs")
      ->check(CLI::IsMember({"auto", "alone", "together"}))
      ->capture_default_str();
  sub->add_option("--stage-weights", o.stage_weights,
                  "a folder of each host: the checkpoint is copied there once and read from there");
  sub->add_option("--expect-ranks", o.expect_ranks, "refuse to start with another number of ranks")
      ->check(CLI::Range(1, 1 << 20));
  sub->add_flag("--share-gpu", o.share_gpu, "let several ranks use one GPU");
  sub->add_flag("--follow", o.follow, "wait for more jobs when drained");
  sub->add_flag("--wait-for-all", o.wait_for_all, "also for jobs that other runs hold");
  sub->add_option("--deadline", flags->deadline,
                  "90s, 45m, 6h30m or @07:00, from the command's start: claim nothing that would not end in time");
  sub->add_option("--max-attempts", o.max_attempts, "of a job")->check(CLI::Range(1, 1000))->capture_default_str();
  sub->add_option("--lease", o.lease_s, "seconds")->check(CLI::Range(3, 86400))->capture_default_str();
  sub->add_option("--stage-limits", flags->stage_limits,
                  "as in step=2h,text=40m: a video without progress for longer is hung (load, text, step, decode, "
                  "encode, publish)");
  sub->add_option("--checkpoint-every", o.checkpoint_every, "steps; 0: about a minute's worth")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  sub->add_option("--archive", o.archive, "none, latents or frames")
      ->check(CLI::IsMember({"none", "latents", "frames"}))
      ->capture_default_str();
  sub->add_option("--input-root", o.input_root, "nothing outside this folder is read")->check(CLI::ExistingDirectory);
  sub->add_option("--min-free", flags->min_free, "claim nothing while OUT has less free space, e.g. 20GB");
  sub->add_flag("--overwrite", o.overwrite,
                "replace jobs of the same id, and videos that this run would make otherwise");
  sub->add_option("--again", o.again, "the id of a done job that is to be made anew; may be repeated")
      ->allow_extra_args(false);
  sub->add_flag("--failed-ok", o.failed_ok, "exit 0 although some jobs failed for good");
  sub->add_option("--recipe", flags->recipe, "official or checkpoint")
      ->check(CLI::IsMember({"official", "checkpoint"}));
  sub->add_option("--progress", flags->progress, "live: a line a rank, redrawn; plain: log lines; auto: by terminal")
      ->check(CLI::IsMember({"auto", "live", "plain"}))
      ->capture_default_str();
  sub->add_option("--log-format", flags->log_format, "of stderr: text or json; auto: text")
      ->check(CLI::IsMember({"auto", "text", "json"}))
      ->capture_default_str();
  add_renderer_env(*sub, o.renderer_env);
  add_encoding_flags(*sub, o.encoding);
  sub->callback([&action, flags] { action = [flags] { return start(*flags); }; });
}

}  // namespace nightreel::app

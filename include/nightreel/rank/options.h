// What `nightreel run` was asked to do. Plain values; the command line fills them in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/log.h"
#include "nightreel/job/recipe.h"
#include "nightreel/rank/stage_watch.h"

namespace nightreel::rank {

struct RunOptions {
  std::vector<std::string> files;
  std::string model;
  std::string out;
  std::string queue = "default";
  std::string redis;            // as --redis; empty: the environment's, or a private server
  std::string device = "auto";  // auto, cpu, cuda
  std::string dtype = "auto";   // auto, bf16, f32, fp8
  int threads = 2;              // CPU threads a renderer
  int ranks_per_video = 1;
  bool shard_weights = false;    // each rank of a group keeps its share of the transformers' blocks
  std::optional<int> min_ranks;  // whose renderers must come up; absent: all
  std::string load = "auto";     // auto: together on GPUs, alone on CPUs; alone, together
  std::string stage_weights;     // a folder of each host for copies of the checkpoint; empty: none
  std::optional<int> expect_ranks;
  bool share_gpu = false;
  bool follow = false;
  bool wait_for_all = false;
  std::optional<std::int64_t> deadline_ms;  // of the clock, in ms since 1970
  std::int64_t max_attempts = 3;
  std::int64_t lease_s = 45;
  GivenLimits stage_limits;           // the others are the device's
  std::int64_t checkpoint_every = 0;  // steps; 0: about a minute's worth
  std::string archive = "latents";    // none, latents, frames
  std::string input_root;
  std::uint64_t min_free = 0;  // bytes that OUT must have free before a job is claimed
  bool overwrite = false;
  std::vector<std::string> again;  // ids of jobs that are made anew although they are done
  bool failed_ok = false;
  job::RecipeChoice recipe = job::RecipeChoice::automatic;
  base::LogFormat log_format = base::LogFormat::text;
  std::function<void(const base::Error&)> show;  // tells people what stops a run that has begun
  std::function<void(const std::string&)> draw;  // for live progress: writes to the terminal as it is; empty: log lines
  std::vector<std::string> renderer_env = {};    // names of more variables for renderers (base/child_environment.h)
  settings::Encoding encoding = {};              // what jobs say of crf and codec goes before
};

}  // namespace nightreel::rank

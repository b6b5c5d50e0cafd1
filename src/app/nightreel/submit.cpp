// `submit`: adds the jobs of files to a queue, without running anything.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "app/nightreel/open_queue.h"
#include "app/nightreel/renderer_env.h"
#include "app/nightreel/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/card/card.h"
#include "nightreel/job/job_file.h"
#include "nightreel/job/memory_check.h"
#include "nightreel/job/resolve.h"
#include "nightreel/media/input_files.h"
#include "nightreel/memory/model.h"
#include "nightreel/queue/submit_jobs.h"

namespace nightreel::app {
namespace {

struct SubmitFlags {
  QueueFlags queue;
  std::vector<std::string> files;
  std::string model;
  std::string input_root;
  std::string recipe;
  std::vector<std::string> renderer_env;
  bool overwrite = false;
};

/// What jobs are judged by on this host's device: the engine, which knows it, is asked.
memory::DeviceMemory ask_engine(const std::string& model, const std::vector<std::string>& renderer_env) {
  base::ChildOptions options;
  options.environment = {base::EnvironmentRule::Take::listed, renderer_env};
  options.argv = {base::companion("nightreel-engine"), "model", "memory", model};
  options.pipe_stdin = false;
  base::Child engine(options);
  base::LineReader lines(engine.stdout_fd(), 64U << 10U);
  std::string line;
  if (lines.next(line, std::chrono::seconds(120)) != base::LineReader::Status::line) {
    const auto ended = engine.wait(std::chrono::seconds(1));
    throw base::Error(base::ErrorKind::environment,
                      options.argv[0] + " model memory: no answer (" + ended.value_or("none within 120 s") + ")");
  }
  return memory::device_memory_from_json(base::parse_json(line));
}

std::vector<job::Job> checked_jobs(const SubmitFlags& flags) {
  auto jobs = job::read_job_files(flags.files, flags.input_root);
  media::check_input_files(jobs);
  if (flags.model.empty()) return jobs;
  const card::Card card = card::read(flags.model);
  card::check_supported(card);
  const job::Recipe recipe = job::recipe_for(card, job::recipe_choice(flags.recipe));
  job::check_jobs(jobs, card, recipe);
  job::check_memory(jobs, card, recipe, ask_engine(flags.model, flags.renderer_env));
  return jobs;
}

int submit(const SubmitFlags& flags) {
  const auto jobs = checked_jobs(flags);
  const OpenQueue open = open_queue(flags.queue, "submit", true);
  queue::SubmitOptions options;
  options.overwrite = flags.overwrite;
  if (!flags.queue.out.empty()) options.out = std::filesystem::absolute(flags.queue.out).lexically_normal().string();
  const auto results = queue::submit_jobs(*open.jobs, jobs, options);
  const auto known = std::count(results.begin(), results.end(), queue::Submitted::unchanged);
  std::printf("%zu added, %zu known already\n", results.size() - static_cast<std::size_t>(known),
              static_cast<std::size_t>(known));
  return 0;
}

}  // namespace

void add_submit(CLI::App& app, Action& action) {
  auto flags = std::make_shared<SubmitFlags>();
  CLI::App* sub = app.add_subcommand("submit", "adds jobs to a queue");
  sub->add_option("jobs", flags->files, "JSON lines files, or - for standard input")->required();
  flags->queue.add_to(*sub);
  sub->add_option("--model", flags->model, "check the jobs against this model too");
  sub->add_option("--recipe", flags->recipe, "official or checkpoint; with --model");
  sub->add_option("--input-root", flags->input_root, "nothing outside this folder is read");
  add_renderer_env(*sub, flags->renderer_env);
  sub->add_flag("--overwrite", flags->overwrite, "other content under a known id replaces it");
  sub->callback([&action, flags] { action = [flags] { return submit(*flags); }; });
}

}  // namespace nightreel::app

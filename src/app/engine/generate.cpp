// `generate`: one video in this process, no MPI, no Redis.
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/common/outputs.h"
#include "app/common/setting_flags.h"
#include "app/engine/engine_flags.h"
#include "app/engine/model_memory.h"
#include "app/engine/subcommands.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/random.h"
#include "nightreel/job/resolve.h"
#include "nightreel/media/input_files.h"
#include "nightreel/media/video.h"
#include "nightreel/memory/plan.h"
#include "nightreel/memory/text.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

struct GenerateOptions {
  render::MakerOptions maker;
  json job = json::object();  // the flags as a job, so that a flag is checked like the field of its name
  std::string output;
  std::string recipe;
  std::string archive = "none";
  std::string archive_file;
};

// The queue's settings have nothing to say here.
bool is_of_the_video(const settings::Row& row) {
  return row.group != settings::Group::queue;
}

// A temporary name beside `path`; the file gets its name only when it is whole.
std::string temporary_name(const std::string& path) {
  return base::parent_folder(path) + "/." + std::filesystem::path(path).filename().string() + "." +
         base::random_hex(8) + ".part";
}

void put_in_place(const std::string& temporary, const std::string& path) {
  base::rename_file(temporary, path);
  base::sync_folder(base::parent_folder(path));
}

void check_outputs(const GenerateOptions& options) {
  check_output_file("--output", options.output, ".mp4");
  if (!options.archive_file.empty()) check_output_file("--archive-file", options.archive_file, "");
  const auto place = [](const std::string& path) {
    std::error_code error;
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path), error);
  };
  if (!options.archive_file.empty() && place(options.output) == place(options.archive_file)) {
    throw Error(ErrorKind::usage, "--output and --archive-file: one file cannot be both");
  }
}

// All that needs no weights.
settings::Settings resolve_job(const GenerateOptions& options) {
  try {
    const job::Job made = job::make_job(options.job, {std::filesystem::current_path().string(), ""});
    const card::Card card = card::read(options.maker.model);
    settings::Settings settings = job::resolve(made, card, job::recipe_for(card, job::recipe_choice(options.recipe)));
    media::check_codec(settings.codec);
    media::check_input_files({made});
    memory::fitting_plan(device_memory(card, options.maker), settings);
    return settings;
  } catch (const Error& e) {
    // What is a job's fault in a queue is the caller's fault here.
    throw Error(e.kind() == ErrorKind::job ? ErrorKind::usage : e.kind(), e.what());
  }
}

void check_archive_flags(const GenerateOptions& options) {
  const bool wanted = options.archive != "none";
  if (wanted && options.archive_file.empty()) {
    throw Error(ErrorKind::usage, "--archive " + options.archive + " needs --archive-file FILE.h5");
  }
  if (!wanted && !options.archive_file.empty()) {
    throw Error(ErrorKind::usage, "--archive-file needs --archive latents or frames");
  }
}

// Removes what a failure left under temporary names.
struct Leftovers {
  std::vector<std::string> paths;
  ~Leftovers() {
    for (const auto& path : paths) std::remove(path.c_str());
  }
};

int generate(const GenerateOptions& options) {
  outlive_readers();
  check_archive_flags(options);
  check_outputs(options);
  const settings::Settings settings = resolve_job(options);
  const base::Stopwatch watch;
  render::VideoMaker maker(options.maker);
  const auto memory = memory::device_memory_from_json(maker.facts().memory);
  std::fprintf(stderr, "memory: %s\n", memory::summary(memory::plan_memory(memory, settings), settings).c_str());
  render::RenderObserver observer;
  observer.progress = [](const std::string& stage, std::int64_t step, std::int64_t steps) {
    if (stage == "denoise" && step > 0) {
      std::fprintf(stderr, "step %lld of %lld\n", static_cast<long long>(step), static_cast<long long>(steps));
    }
  };
  auto rendered = maker.render({settings, maker.prepare(settings), {}, observer});
  for (const std::string& keys : rendered.unused_keys) {
    std::fprintf(stderr, "loras: left out, this model has no such parts: %s\n",
                 base::printable(keys, std::string::npos).c_str());
  }
  render::OutputFiles files;
  files.video = temporary_name(options.output);
  files.archive = options.archive_file.empty() ? "" : temporary_name(options.archive_file);
  files.archive_content = options.archive;
  const Leftovers leftovers{{files.video, files.archive}};
  maker.write(settings, options.job, files, rendered);
  if (!files.archive.empty()) put_in_place(files.archive, options.archive_file);
  put_in_place(files.video, options.output);
  std::printf("%s\n", options.output.c_str());
  std::fprintf(stderr, "%s in %s\n", base::printable(options.output, 4096).c_str(),
               base::human_duration(watch.seconds()).c_str());
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* sub = app.add_subcommand("generate", "one video in this process: no MPI, no Redis");
  add_loading_flags(*sub, options->maker);
  sub->get_option("--model")->required();
  add_setting_flags(*sub, options->job, is_of_the_video);
  sub->add_option("-o,--output,--save-file", options->output, "MP4 file; replaced, whole")->required();
  sub->add_option("--recipe", options->recipe, "official or checkpoint");
  sub->add_option("--archive", options->archive, "none, latents or frames")
      ->check(CLI::IsMember({"none", "latents", "frames"}))
      ->capture_default_str();
  sub->add_option("--archive-file", options->archive_file, "HDF5 file; replaced, whole");
  sub->callback([&action, options] { action = [options] { return generate(*options); }; });
}

}  // namespace nightreel::app

// `bench`: pieces of the work, timed, each beside the correctness of the same run.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/engine/bench.h"
#include "app/engine/maker_flags.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/bench/measure.h"
#include "nightreel/job/resolve.h"
#include "nightreel/pipeline/device.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr std::int64_t kSteps = 4;  // of a denoising run, where not asked otherwise: enough to share out its start

struct BenchFlags {
  MorePieces more;
  render::MakerOptions maker;
  json job = json::object();  // the flags as a job: checked like a job's fields
  std::vector<std::string> pieces;
  int repeats = 5;
  int warm_ups = 1;
  std::int64_t tokens = 64;
  std::string reference;
  std::optional<double> tolerance;
  bool as_json = false;
  bool paced = false;
};

std::vector<bench::PieceKind> all_kinds(const MorePieces& more) {
  std::vector<bench::PieceKind> kinds = bench::piece_kinds();
  kinds.insert(kinds.end(), more.kinds.begin(), more.kinds.end());
  return kinds;
}

std::string known_names(const MorePieces& more) {
  std::string names;
  for (const auto& kind : all_kinds(more)) names += (names.empty() ? "" : ", ") + kind.name;
  return names;
}

std::vector<bench::PieceKind> wanted_kinds(const BenchFlags& flags) {
  const auto known = all_kinds(flags.more);
  if (flags.pieces.empty()) return known;
  std::vector<bench::PieceKind> wanted;
  for (const std::string& name : flags.pieces) {
    const std::size_t before = wanted.size();
    for (const auto& kind : known) {
      if (kind.name == name) wanted.push_back(kind);
    }
    if (wanted.size() == before) {
      throw Error(ErrorKind::usage, "--piece: '" + base::printable(name) + "' is none of " + known_names(flags.more));
    }
  }
  return wanted;
}

bench::Workload workload_for(const BenchFlags& flags) {
  bench::Workload workload;
  workload.model = flags.maker.model;
  workload.tokens = flags.tokens;
  const job::ModelCard card = job::read_model_card(workload.model);
  job::check_supported(card);
  try {
    workload.settings =
        job::resolve(job::make_job(flags.job, {}), card, job::recipe_for(card, job::RecipeChoice::automatic));
  } catch (const Error& e) {
    throw Error(e.kind() == ErrorKind::job ? ErrorKind::usage : e.kind(), e.what());  // a job's fault is the caller's
  }
  if (pipeline::holds_fp8(flags.maker.dtype)) {
    throw Error(ErrorKind::usage, "--dtype: fp8 is not measured; write auto, bf16 or f32");
  }
  workload.device = pipeline::choose_device(flags.maker.device);
  workload.dtype = pipeline::choose_dtype(flags.maker.dtype, workload.device);
  bench::use_threads(flags.maker.threads);
  return workload;
}

bool is_one_more(const std::string& name, const MorePieces& more) {
  return std::any_of(more.kinds.begin(), more.kinds.end(), [&](const auto& kind) { return kind.name == name; });
}

bench::Measurement measurement_of(const bench::PieceKind& kind, const BenchFlags& flags,
                                  const bench::Workload& workload) {
  std::optional<bench::Reference> reference;
  std::optional<at::Tensor> expected;
  if (!flags.reference.empty()) {
    reference.emplace(flags.reference);
    expected = reference->tensor(kind.name + "." + kind.result);
  }
  auto piece = is_one_more(kind.name, flags.more)
                   ? flags.more.make(kind.name, flags.maker, workload.settings)
                   : bench::make_piece(kind.name, workload, reference ? &*reference : nullptr);
  return {kind, std::move(piece), workload, expected, flags.tolerance};
}

void say(const json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

/// The number of runs that a line asks for; an empty one asks for one.
int runs_asked(const std::string& line) {
  constexpr int kMost = 1000;
  int runs = line.empty() ? 1 : 0;
  const auto [end, trouble] = std::from_chars(line.data(), line.data() + line.size(), runs);
  if (end == line.data() + line.size() && runs >= 1 && runs <= kMost) return runs;
  throw Error(ErrorKind::usage, "--paced: '" + base::printable(line) + "' on stdin is no number of runs");
}

/// Runs for each line on stdin, so that another program can take turns with this one.
void repeat_on_request(bench::Measurement& measurement) {
  say({{"ready", true}});
  base::LineReader requests(STDIN_FILENO, 1024);
  std::string line;
  for (;;) {
    const auto status = requests.next(line, std::chrono::seconds(1));
    if (status == base::LineReader::Status::closed) return;
    if (status == base::LineReader::Status::timeout) continue;
    std::vector<double> seconds;
    for (int i = runs_asked(line); i > 0; --i) seconds.push_back(measurement.repeat());
    say({{"seconds", seconds}});
  }
}

bench::Figures measure(const bench::PieceKind& kind, const BenchFlags& flags, const bench::Workload& workload) {
  bench::Measurement measurement = measurement_of(kind, flags, workload);
  for (int i = 0; i < flags.warm_ups; ++i) measurement.warm_up();
  if (flags.paced) {
    repeat_on_request(measurement);
  } else {
    for (int i = 0; i < flags.repeats; ++i) measurement.repeat();
  }
  return measurement.figures();
}

json report(const BenchFlags& flags, const bench::Workload& workload, const std::vector<bench::Figures>& figures) {
  json pieces = json::array();
  bool right = true;
  for (const auto& one : figures) {
    pieces.push_back(bench::to_json(one));
    right = right && one.right();
  }
  return {{"model", workload.model},
          {"device", workload.device.str()},
          {"dtype", workload.dtype == at::kFloat ? "f32" : "bf16"},
          {"threads", flags.maker.threads},
          {"tokens", workload.tokens},
          {"settings", job::to_json(workload.settings)},
          {"versions", pipeline::compute_versions()},
          {"pieces", pieces},
          {"right", right}};
}

/// "12.3 ms", "1.23 s".
std::string shown(double seconds) {
  std::string text(32, '\0');
  const bool short_time = seconds < 1;
  const int size =
      std::snprintf(text.data(), text.size(), short_time ? "%.3g ms" : "%.3g s", short_time ? seconds * 1000 : seconds);
  text.resize(static_cast<std::size_t>(size));
  return text;
}

void print(const json& piece) {
  const json& correctness = piece.at("correctness");
  const double deviation = correctness.at("deviation").is_null() ? HUGE_VAL : correctness.at("deviation").get<double>();
  const std::string spread = shown(piece.value("min_s", 0.0)) + " to " + shown(piece.value("max_s", 0.0));
  std::printf("%-12s %10s a %-12s %-20s deviation %8.1e of %.1e from the %s: %s\n",
              piece.at("piece").get<std::string>().c_str(), shown(piece.value("median_s", 0.0)).c_str(),
              piece.at("unit").get<std::string>().c_str(), spread.c_str(), deviation,
              correctness.at("limit").get<double>(), correctness.at("against").get<std::string>().c_str(),
              correctness.at("right").get<bool>() ? "right" : "WRONG");
}

int run_bench(const BenchFlags& flags) {
  const auto kinds = wanted_kinds(flags);
  if (flags.paced && kinds.size() != 1) throw Error(ErrorKind::usage, "--paced needs exactly one --piece");
  const bench::Workload workload = workload_for(flags);
  std::vector<bench::Figures> figures;
  for (const auto& kind : kinds) figures.push_back(measure(kind, flags, workload));
  const json all = report(flags, workload, figures);
  if (flags.paced || flags.as_json) {
    std::printf("%s\n", all.dump(flags.paced ? -1 : 2).c_str());
  } else {
    for (const json& piece : all.at("pieces")) print(piece);
  }
  return all.at("right").get<bool>() ? 0 : 1;
}

void add_setting_flags(CLI::App& sub, BenchFlags& flags) {
  flags.job = {
      {"prompt", "a red circle moves right on a black background"}, {"num_inference_steps", kSteps}, {"seed", 7}};
  const auto integer = [&](const char* flag, const char* field, const char* help) {
    sub.add_option_function<std::int64_t>(
        flag, [&flags, field](std::int64_t value) { flags.job[field] = value; }, help);
  };
  const auto number = [&](const char* flag, const char* field, const char* help) {
    sub.add_option_function<double>(
        flag, [&flags, field](double value) { flags.job[field] = value; }, help);
  };
  const auto text = [&](const char* flag, const char* field, const char* help) {
    sub.add_option_function<std::string>(
        flag, [&flags, field](const std::string& value) { flags.job[field] = value; }, help);
  };
  integer("--height", "height", "pixels; default: the recipe's, as for width and num-frames");
  integer("--width", "width", "pixels");
  integer("--num-frames,--frame-num", "num_frames", "4n+1");
  integer("--num-inference-steps,--sample-steps", "num_inference_steps", "of a denoising run; default 4");
  integer("--seed,--base-seed", "seed", "of the start noise; default 7");
  number("--guidance-scale,--sample-guide-scale", "guidance_scale", "1 or less: one pass a step instead of two");
  number("--flow-shift,--sample-shift", "flow_shift", "shift of the noise schedule");
  text("--prompt", "prompt", "for start");
  text("--negative-prompt", "negative_prompt", "for start");
}

}  // namespace

void add_bench_with(CLI::App& app, Action& action, const MorePieces& more) {
  auto flags = std::make_shared<BenchFlags>();
  flags->more = more;
  CLI::App* sub = app.add_subcommand("bench", "measures pieces of the work, correctness beside each speed");
  add_maker_flags(*sub, flags->maker);
  sub->add_option("--piece", flags->pieces, "any of " + known_names(more) + "; default: all")->delimiter(',');
  sub->add_option("--repeat", flags->repeats, "counted runs")->check(CLI::Range(1, 100000))->capture_default_str();
  sub->add_option("--warmup", flags->warm_ups, "runs before, not timed but checked")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  sub->add_option("--tokens", flags->tokens, "of a prompt, where no reference brings one")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  sub->add_option("--reference", flags->reference, "safetensors file with another program's inputs and results");
  sub->add_option("--tolerance", flags->tolerance, "largest deviation that is right; default: the parity tests'")
      ->check(CLI::NonNegativeNumber);
  add_setting_flags(*sub, *flags);
  sub->add_flag("--json", flags->as_json, "for programs");
  sub->add_flag("--paced", flags->paced, "as many runs as each line on stdin says, answered by a JSON line");
  sub->callback([&action, flags] { action = [flags] { return run_bench(*flags); }; });
}

}  // namespace nightreel::app

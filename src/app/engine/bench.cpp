// `bench`: pieces of the work, timed, each beside the correctness of the same run.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/common/setting_flags.h"
#include "app/engine/bench.h"
#include "app/engine/engine_flags.h"
#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/bench/device_use.h"
#include "nightreel/bench/measure.h"
#include "nightreel/bench/random_weights.h"
#include "nightreel/job/resolve.h"
#include "nightreel/memory/plan.h"
#include "nightreel/pipeline/device.h"
#include "nightreel/settings/json.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

// A PNG of one grey pixel. A renderer makes it as large as the video; the other pieces make up pictures themselves.
constexpr std::array<unsigned char, 69> kPicture{
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53, 0xde, 0x00, 0x00, 0x00,
    0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x68, 0x68, 0x68, 0x00, 0x00, 0x03, 0x04, 0x01, 0x81, 0x75,
    0x2e, 0x01, 0xbc, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

constexpr std::int64_t kSteps = 4;  // of a denoising run, where not asked otherwise: enough to share out its start

struct BenchFlags {
  MorePieces more;
  render::MakerOptions maker;
  std::string random;         // a name of bench::random_names(), in place of a model
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

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string names_of(const std::vector<bench::PieceKind>& kinds) {
  std::vector<std::string> names;
  for (const auto& kind : kinds) names.push_back(kind.name);
  return joined(names);
}

/// Throws unless a model is named in exactly one way.
void check_model_flags(const BenchFlags& flags) {
  if (flags.random.empty() == flags.maker.model.empty()) {
    throw Error(ErrorKind::usage, "--model, --random: exactly one of them is needed");
  }
  const auto known = bench::random_names();
  if (flags.random.empty() || std::find(known.begin(), known.end(), flags.random) != known.end()) return;
  throw Error(ErrorKind::usage, "--random: '" + base::printable(flags.random) + "' is none of " + joined(known));
}

/// A renderer that is started reads its weights itself: it has no use for random ones.
std::vector<bench::PieceKind> possible_kinds(const BenchFlags& flags) {
  return flags.random.empty() ? all_kinds(flags.more) : bench::piece_kinds();
}

std::vector<bench::PieceKind> wanted_kinds(const BenchFlags& flags) {
  const auto known = possible_kinds(flags);
  if (flags.pieces.empty()) return known;
  std::vector<bench::PieceKind> wanted;
  for (const std::string& name : flags.pieces) {
    const std::size_t before = wanted.size();
    for (const auto& kind : known) {
      if (kind.name == name) wanted.push_back(kind);
    }
    if (wanted.size() == before) {
      throw Error(ErrorKind::usage, "--piece: '" + base::printable(name) + "' is none of " + names_of(known));
    }
  }
  return wanted;
}

/// What a job for this model must have beside the flags: pictures, in `scratch`.
json job_for(const BenchFlags& flags, const card::Card& card, const bench::ScratchFolder& scratch) {
  json job = flags.job;
  const auto add = [&](const char* field) {
    job[field] = scratch.file(field);
    std::ofstream file(scratch.file(field), std::ios::binary);
    file.write(reinterpret_cast<const char*>(kPicture.data()), kPicture.size());
    if (!file.flush()) base::throw_errno("cannot write", scratch.file(field));
  };
  const bool first_and_last = card.kind == card::ModelKind::flf2v;
  if (first_and_last || card.kind == card::ModelKind::i2v) add("image");
  if (first_and_last) add("last_image");
  return job;
}

/// `scratch`: where the headers of random weights go, and the pictures.
bench::Workload workload_for(const BenchFlags& flags, const bench::ScratchFolder& scratch) {
  if (pipeline::holds_fp8(flags.maker.dtype)) {
    throw Error(ErrorKind::usage, "--dtype: fp8 is not measured; write auto, bf16 or f32");
  }
  bench::Workload workload;
  workload.device = pipeline::choose_device(flags.maker.device);
  workload.dtype = pipeline::choose_dtype(flags.maker.dtype, workload.device);
  workload.model = flags.maker.model;
  workload.tokens = flags.tokens;
  workload.random = !flags.random.empty();
  if (workload.random) {
    workload.model = scratch.path();
    bench::write_published_configs(flags.random, workload.model);
    bench::write_sparse_weights(workload.model, workload.dtype);
  }
  const card::Card card = card::read(workload.model);
  card::check_supported(card);
  try {
    workload.settings = job::resolve(job::make_job(job_for(flags, card, scratch), {}), card,
                                     job::recipe_for(card, job::RecipeChoice::automatic));
  } catch (const Error& e) {
    throw Error(e.kind() == ErrorKind::job ? ErrorKind::usage : e.kind(), e.what());  // a job's fault is the caller's
  }
  bench::use_threads(flags.maker.threads);
  return workload;
}

/// The plan, before any weights are read. A video that does not fit is the caller's fault, not a job's.
memory::MemoryPlan plan_for(const BenchFlags& flags, const bench::Workload& workload) {
  try {
    return bench::plan_of(workload, flags.maker.gpu_memory);
  } catch (const Error& e) {
    throw Error(e.kind() == ErrorKind::job ? ErrorKind::usage : e.kind(), e.what());
  }
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
  bench::forget_peaks(workload.device);
  bench::Measurement measurement = measurement_of(kind, flags, workload);
  for (int i = 0; i < flags.warm_ups; ++i) measurement.warm_up();
  if (flags.paced) {
    repeat_on_request(measurement);
  } else {
    for (int i = 0; i < flags.repeats; ++i) measurement.repeat();
  }
  measurement.finish();
  return measurement.figures();
}

json report(const BenchFlags& flags, const bench::Workload& workload, const std::vector<bench::Figures>& figures,
            const std::optional<double>& matmul_tflops) {
  json pieces = json::array();
  bool right = true;
  for (const auto& one : figures) {
    pieces.push_back(bench::to_json(one));
    right = right && one.right();
  }
  return {{"model", workload.random ? "random " + flags.random : workload.model},
          {"device", workload.device.str()},
          {"dtype", workload.dtype == at::kFloat ? "f32" : "bf16"},
          {"threads", flags.maker.threads},
          {"tokens", workload.tokens},
          {"settings", settings::to_json(workload.settings)},
          {"versions", pipeline::compute_versions()},
          {"matmul_tflops", matmul_tflops ? json(*matmul_tflops) : json()},
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

/// With `places` behind the point.
std::string rounded(double value, int places) {
  std::string text(64, '\0');
  text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(), "%.*f", places, value)));
  return text;
}

/// What the piece made of the device, as far as it is known, in a line of its own.
void print_use(const json& piece, const json& matmul_tflops) {
  constexpr double kGigabyte = 1e9;
  std::vector<std::string> words;
  if (const json& rate = piece.at("tflops"); !rate.is_null()) {
    words.push_back(rounded(rate.get<double>(), 3) + " TFLOP/s");
    if (!matmul_tflops.is_null()) {
      words.push_back(rounded(100 * rate.get<double>() / matmul_tflops.get<double>(), 0) + " % of a matmul's");
    }
  }
  if (const json& kernel = piece.at("kernels").at("attention"); !kernel.is_null()) {
    words.push_back("attention " + kernel.get<std::string>());
  }
  const json& memory = piece.at("memory");
  if (!memory.at("reserved").is_null()) {
    words.push_back("reserved " + rounded(memory.at("reserved").get<double>() / kGigabyte, 2) + " GB");
    const json& plan = memory.at("plan");
    if (!plan.is_null()) words.push_back("planned " + rounded(plan.at("peak").get<double>() / kGigabyte, 2) + " GB");
  }
  if (!words.empty()) std::printf("%12s %s\n", "", joined(words).c_str());
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
  check_model_flags(flags);
  const auto kinds = wanted_kinds(flags);
  if (flags.paced && kinds.size() != 1) throw Error(ErrorKind::usage, "--paced needs exactly one --piece");
  const bench::ScratchFolder scratch;
  bench::Workload workload = workload_for(flags, scratch);
  if (std::any_of(kinds.begin(), kinds.end(), [](const auto& kind) { return kind.planned; })) {
    workload.plan = plan_for(flags, workload);
  }
  const std::optional<double> matmul_tflops = bench::matmul_tflops(workload.device, workload.dtype);
  std::vector<bench::Figures> figures;
  for (const auto& kind : kinds) figures.push_back(measure(kind, flags, workload));
  const json all = report(flags, workload, figures, matmul_tflops);
  if (flags.paced || flags.as_json) {
    std::printf("%s\n", all.dump(flags.paced ? -1 : 2).c_str());
  } else {
    for (const json& piece : all.at("pieces")) {
      print(piece);
      print_use(piece, all.at("matmul_tflops"));
    }
  }
  return all.at("right").get<bool>() ? 0 : 1;
}

// Files it makes up itself, and it writes none.
bool is_of_the_pieces(const settings::Row& row) {
  return row.group == settings::Group::sampling && row.form != settings::Form::path && row.name != "loras";
}

}  // namespace

void add_bench_with(CLI::App& app, Action& action, const MorePieces& more) {
  auto flags = std::make_shared<BenchFlags>();
  flags->more = more;
  CLI::App* sub = app.add_subcommand("bench", "measures pieces of the work, correctness beside each speed");
  add_loading_flags(*sub, flags->maker);
  sub->add_option("--random", flags->random,
                  "in place of a model: random weights of published dimensions, " + joined(bench::random_names()));
  sub->add_option("--piece", flags->pieces, "any of " + names_of(all_kinds(more)) + "; default: all")->delimiter(',');
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
  flags->job = {
      {"prompt", "a red circle moves right on a black background"}, {"num_inference_steps", kSteps}, {"seed", 7}};
  add_setting_flags(*sub, flags->job, is_of_the_pieces);
  sub->add_flag("--json", flags->as_json, "for programs");
  sub->add_flag("--paced", flags->paced, "as many runs as each line on stdin says, answered by a JSON line");
  sub->callback([&action, flags] { action = [flags] { return run_bench(*flags); }; });
}

}  // namespace nightreel::app

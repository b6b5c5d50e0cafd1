// gpu_proof: CUDA against the CPU of the same run, a line of JSON for each number that is compared.
//
//   gpu_proof --models DIR [--quick] [--only PATTERN] [--append FILE]     compares
//   gpu_proof --models DIR [--quick] [--only PATTERN] --list              names what would be compared
//
// DIR: models/ of this repository. PATTERN: a part of "NAME DTYPE SIZE". A line is written out at once, so that whoever
// is cut off has told what it had. Ends with 0; 1: something deviates or failed; 2: bad usage; 3: no GPU.
#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gpu/check.h"
#include "gpu/random_model.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/pipeline/device.h"
#include "support/temp_folder.h"

namespace nightreel::proof {
namespace {

using nlohmann::json;

struct Arguments {
  std::string models;
  std::string only;
  std::string append;
  bool quick = false;
  bool list = false;
};

constexpr const char* kUsage = "usage: gpu_proof --models DIR [--quick] [--only PATTERN] [--append FILE] [--list]\n";

/// Throws Error{usage}.
Arguments arguments_of(const std::vector<std::string>& words) {
  Arguments arguments;
  const std::map<std::string, std::string*> values{
      {"--models", &arguments.models}, {"--only", &arguments.only}, {"--append", &arguments.append}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto value = values.find(words[i]);
    if (value != values.end() && i + 1 < words.size()) {
      *value->second = words[++i];
    } else if (words[i] == "--quick") {
      arguments.quick = true;
    } else if (words[i] == "--list") {
      arguments.list = true;
    } else {
      throw base::Error(base::ErrorKind::usage, kUsage);
    }
  }
  if (arguments.models.empty()) throw base::Error(base::ErrorKind::usage, kUsage);
  return arguments;
}

std::string title_of(const Check& check) {
  return check.name + " " + check.dtype + " " + check.size;
}

std::vector<Check> wanted_checks(const Arguments& arguments, const Places& places) {
  std::vector<Check> all;
  add_kernels(all);
  add_modules(all, places);
  add_pipelines(all, places);
  std::vector<Check> wanted;
  for (Check& check : all) {
    if (arguments.quick && !check.quick) continue;
    if (title_of(check).find(arguments.only) != std::string::npos) wanted.push_back(std::move(check));
  }
  return wanted;
}

/// The first line of what was thrown; LibTorch adds a backtrace.
std::string first_line(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch != nullptr ? torch->what_without_backtrace() : error.what();
  return base::printable(text.substr(0, text.find('\n')), 300);
}

class Report {
 public:
  explicit Report(const std::string& append) {
    if (!append.empty()) file_.open(append, std::ios::app);
    if (!append.empty() && !file_) throw base::Error(base::ErrorKind::storage, append + ": cannot be written");
  }
  void line(const json& line) {
    const std::string text = line.dump();
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
    if (file_.is_open()) file_ << text << std::endl;
    right_ = right_ && line.at("ok").get<bool>();
  }
  bool right() const { return right_; }

 private:
  std::ofstream file_;
  bool right_ = true;
};

json line_of(const Check& check, const Measured& measured, double seconds) {
  json line{{"check", check.name},
            {"dtype", check.dtype},
            {"size", check.size},
            {"what", measured.what},
            {"deviation", measured.deviation},
            {"limit", measured.limit},
            {"ok", measured.deviation <= measured.limit},
            {"seconds", std::round(seconds * 1000) / 1000}};
  if (!std::isfinite(measured.deviation)) line["deviation"] = nullptr;  // not finite, or of another shape
  return line;
}

void run_check(const Check& check, Report& report) {
  const base::Stopwatch stopwatch;
  try {
    at::manual_seed(7);
    allow_tf32(false);
    for (const Measured& measured : check.run()) report.line(line_of(check, measured, stopwatch.seconds()));
  } catch (const std::exception& error) {
    report.line({{"check", check.name},
                 {"dtype", check.dtype},
                 {"size", check.size},
                 {"error", first_line(error)},
                 {"ok", false},
                 {"seconds", stopwatch.seconds()}});
  }
}

int run_all(const Arguments& arguments) {
  const test::TempFolder folder;
  const Places places{arguments.models, folder.path()};
  const std::vector<Check> checks = wanted_checks(arguments, places);
  if (arguments.list) {
    for (const Check& check : checks) std::printf("%s\n", title_of(check).c_str());
    return 0;
  }
  pipeline::choose_device("cuda");
  write_random_models(folder.path());
  write_random_lora(folder / "lora-t2v.safetensors", folder / "t2v/transformer");
  Report report(arguments.append);
  for (const Check& check : checks) run_check(check, report);
  return report.right() ? 0 : 1;
}

}  // namespace
}  // namespace nightreel::proof

int main(int argc, char** argv) {
  using nightreel::base::ErrorKind;
  try {
    return nightreel::proof::run_all(nightreel::proof::arguments_of({argv + 1, argv + argc}));
  } catch (const nightreel::base::Error& error) {
    std::fprintf(stderr, "gpu_proof: %s\n", error.what());
    if (error.kind() == ErrorKind::usage) return 2;
    return error.kind() == ErrorKind::environment ? 3 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_proof: %s\n", error.what());
    return 1;
  }
}

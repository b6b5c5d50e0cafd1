// `model convert`: a checkpoint in the other layout, in another precision, in other shards.
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/common/outputs.h"
#include "app/engine/model_files.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/weights/convert.h"

namespace nightreel::app {
namespace {

using nlohmann::json;

struct ConvertFlags {
  weights::ConvertOptions options;
  std::string layout;
  std::string dtype;
  std::string shard_size = "5GB";
  bool as_json = false;
};

const std::map<std::string, weights::Precision> kPrecisions{{"f32", weights::Precision::f32},
                                                            {"bf16", weights::Precision::bf16},
                                                            {"f16", weights::Precision::f16},
                                                            {"fp8", weights::Precision::fp8}};

json to_json(const weights::ConvertedComponent& component) {
  return {{"name", component.name},
          {"tensors", component.tensors},
          {"bytes_before", component.bytes_before},
          {"bytes_after", component.bytes_after},
          {"changed", component.changed},
          {"max_error", component.max_error},
          {"mean_error", component.mean_error},
          {"relative_error", component.relative_error},
          {"left_out", component.left_out}};
}

void print(const weights::ConvertedComponent& component) {
  constexpr double kMega = 1e6;
  std::printf("%-14s %6zu tensors %10.1f MB -> %10.1f MB", component.name.c_str(), component.tensors,
              static_cast<double>(component.bytes_before) / kMega, static_cast<double>(component.bytes_after) / kMega);
  if (component.changed == 0) {
    std::printf("  as it was\n");
  } else {
    std::printf("  %zu rounded: error max %.3g, mean %.3g, relative %.3g\n", component.changed, component.max_error,
                component.mean_error, component.relative_error);
  }
  for (const std::string& name : component.left_out) {
    std::printf("  left out, used by nothing: %s\n", base::printable(name).c_str());
  }
}

/// A line on stderr every few seconds: a large model takes minutes.
class Progress {
 public:
  void operator()(std::uint64_t bytes) {
    if (since_.seconds() < 5) return;
    since_ = base::Stopwatch();
    std::fprintf(stderr, "%.1f GB written\n", static_cast<double>(bytes) / 1e9);
  }

 private:
  base::Stopwatch since_;
};

int convert(ConvertFlags flags) {
  weights::ConvertOptions& options = flags.options;
  if (!flags.layout.empty()) {
    options.layout = flags.layout == "original" ? card::Layout::original : card::Layout::diffusers;
  }
  if (!flags.dtype.empty()) options.precision = kPrecisions.at(flags.dtype);
  options.shard_bytes = base::parse_size(flags.shard_size);
  if (options.shard_bytes == 0) throw base::Error(base::ErrorKind::usage, "--shard-size: must be above 0");
  outlive_readers();
  card_of(options.from);
  const auto components = weights::convert_checkpoint(options, model::lists_of(options.from), Progress());
  const std::string digest = model::model_digest(options.to);  // read back from the disk
  if (!flags.as_json) {
    for (const auto& component : components) print(component);
    std::printf("%-14s %s\n", "digest", digest.c_str());
    return 0;
  }
  json report{{"from", options.from}, {"to", options.to}, {"digest", digest}, {"components", json::array()}};
  for (const auto& component : components) report["components"].push_back(to_json(component));
  std::printf("%s\n", base::dump_json(report, 2).c_str());
  return 0;
}

}  // namespace

void add_model_convert(CLI::App& model, Action& action) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* sub = model.add_subcommand("convert", "writes a checkpoint in another layout or precision");
  sub->add_option("folder", flags->options.from, "DIR")->required();
  sub->add_option("--to", flags->options.to, "folder to write; must not exist")->required();
  sub->add_option("--layout", flags->layout, "diffusers or original; default: as it is")
      ->check(CLI::IsMember({"diffusers", "original"}));
  sub->add_option("--dtype", flags->dtype, "bf16, f32, f16 or fp8; default: each tensor as it is")
      ->check(CLI::IsMember({"bf16", "f32", "f16", "fp8"}));
  sub->add_option("--shard-size", flags->shard_size, "largest file")->capture_default_str();
  sub->add_flag("--json", flags->as_json, "for programs");
  sub->callback([&action, flags] { action = [flags] { return convert(*flags); }; });
}

}  // namespace nightreel::app

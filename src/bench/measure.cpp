#include "nightreel/bench/measure.h"
#include "nightreel/memory/text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace nightreel::bench {

namespace {

/// Of JSON; null: none.
template <class Value>
nlohmann::json or_null(const std::optional<Value>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json memory_json(const Figures& figures) {
  nlohmann::json json{{"plan", nullptr}, {"allocated", nullptr}, {"reserved", nullptr}};
  if (figures.plan) json["plan"] = memory::to_json(*figures.plan);
  if (figures.memory) json["allocated"] = figures.memory->allocated;
  if (figures.memory) json["reserved"] = figures.memory->reserved;
  return json;
}

}  // namespace

double relative_deviation(const at::Tensor& ours, const at::Tensor& theirs) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  constexpr std::int64_t kPart = 1 << 22;  // numbers at a time: a whole video of doubles would take gigabytes
  if (ours.sizes() != theirs.sizes() || theirs.numel() == 0) return kNone;
  const at::Tensor a = ours.flatten();
  const at::Tensor b = theirs.flatten();
  double scale = 0;
  double gap = 0;
  for (std::int64_t from = 0; from < a.numel(); from += kPart) {
    const at::Tensor a_part = a.slice(0, from, from + kPart).to(at::kCPU, at::kDouble);
    const at::Tensor b_part = b.slice(0, from, from + kPart).to(at::kCPU, at::kDouble);
    const auto part_gap = (a_part - b_part).abs().max().item<double>();
    if (!std::isfinite(part_gap)) return kNone;
    gap = std::max(gap, part_gap);
    scale = std::max(scale, b_part.abs().max().item<double>());
  }
  if (gap == 0) return 0;  // also where all is zero
  return std::isfinite(gap / scale) ? gap / scale : kNone;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

nlohmann::json to_json(const Figures& figures) {
  nlohmann::json json{{"piece", figures.kind.name}, {"unit", figures.kind.unit}, {"seconds", figures.seconds}};
  if (!figures.seconds.empty()) {
    json["median_s"] = median(figures.seconds);
    json["min_s"] = *std::min_element(figures.seconds.begin(), figures.seconds.end());
    json["max_s"] = *std::max_element(figures.seconds.begin(), figures.seconds.end());
  }
  json["correctness"] = {
      {"against", figures.against}, {"deviation", nullptr}, {"limit", figures.limit}, {"right", figures.right()}};
  if (std::isfinite(figures.deviation)) json["correctness"]["deviation"] = figures.deviation;
  json["memory"] = memory_json(figures);
  json["kernels"] = {{"attention", or_null(figures.attention)}};
  json["tflop"] = nullptr;
  json["tflops"] = nullptr;
  if (figures.operations) {
    json["tflop"] = *figures.operations / 1e12;
    if (!figures.seconds.empty()) json["tflops"] = *figures.operations / 1e12 / median(figures.seconds);
  }
  return json;
}

Measurement::Measurement(PieceKind kind, std::unique_ptr<Piece> piece, const Workload& workload,
                         std::optional<at::Tensor> expected, std::optional<double> limit)
    : piece_(std::move(piece)), device_(workload.device), expected_(std::move(expected)) {
  const double usual = workload.dtype == at::kFloat ? kind.limit_f32 : kind.limit_bf16;
  figures_.against = expected_ ? "reference" : "first run";
  figures_.limit = limit.value_or(expected_ || !workload.device.is_cpu() ? usual : 0);
  figures_.kind = std::move(kind);
}

void Measurement::warm_up() {
  run_and_check();
}

double Measurement::repeat() {
  figures_.seconds.push_back(run_and_check());
  return figures_.seconds.back();
}

void Measurement::finish() {
  const PieceFacts facts = piece_->facts();
  figures_.plan = facts.plan;
  figures_.operations = facts.operations;
  if (facts.in_this_process) figures_.memory = peak_memory(device_);
  if (facts.attention) figures_.attention = attention_kernel(*facts.attention, device_);
}

double Measurement::run_and_check() {
  const double seconds = piece_->run();
  const at::Tensor result = piece_->result();
  if (!expected_) expected_ = result.clone();
  figures_.deviation = std::max(figures_.deviation, relative_deviation(result, *expected_));
  return seconds;
}

}  // namespace nightreel::bench

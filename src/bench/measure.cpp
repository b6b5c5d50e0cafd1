#include "nightreel/bench/measure.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace nightreel::bench {

double relative_deviation(const at::Tensor& ours, const at::Tensor& theirs) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  if (ours.sizes() != theirs.sizes() || theirs.numel() == 0) return kNone;
  const at::Tensor a = ours.to(at::kCPU, at::kDouble);
  const at::Tensor b = theirs.to(at::kCPU, at::kDouble);
  const auto scale = b.abs().max().item<double>();
  const auto gap = (a - b).abs().max().item<double>();
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
  return json;
}

Measurement::Measurement(PieceKind kind, std::unique_ptr<Piece> piece, const Workload& workload,
                         std::optional<at::Tensor> expected, std::optional<double> limit)
    : piece_(std::move(piece)), expected_(std::move(expected)) {
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

double Measurement::run_and_check() {
  const double seconds = piece_->run();
  const at::Tensor result = piece_->result();
  if (!expected_) expected_ = result.clone();
  figures_.deviation = std::max(figures_.deviation, relative_deviation(result, *expected_));
  return seconds;
}

}  // namespace nightreel::bench

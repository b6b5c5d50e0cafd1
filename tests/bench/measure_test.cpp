// What a measurement says about results that are right, wrong, not finite or different from run to run.
#include "nightreel/bench/measure.h"
#include "nightreel/memory/plan.h"
#include "nightreel/memory/text.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace {

using namespace nightreel;

const memory::MemoryPlan kPlan = [] {
  memory::MemoryPlan plan;
  plan.stages = {{"denoise", 3, 4, 4}};
  return plan;
}();

/// Gives the tensors that it was told, one a run, and then the last again.
class Scripted final : public bench::Piece {
 public:
  explicit Scripted(std::vector<at::Tensor> results) : results_(std::move(results)) {}
  double run() override {
    at_ = std::min(runs_++, results_.size() - 1);
    return static_cast<double>(runs_);
  }
  at::Tensor result() override { return results_[at_]; }
  bench::PieceFacts facts() const override { return {true, kPlan, std::nullopt, 5e12}; }

 private:
  std::vector<at::Tensor> results_;
  std::size_t at_ = 0;
  std::size_t runs_ = 0;
};

bench::Measurement measurement(std::vector<at::Tensor> results, std::optional<at::Tensor> expected,
                               std::optional<double> limit = std::nullopt) {
  const bench::PieceKind kind{"piece", "unit", "result", 1e-5, 0.1};
  return {kind, std::make_unique<Scripted>(std::move(results)), bench::Workload{}, std::move(expected), limit};
}

const at::Tensor kOne = at::tensor({1.0F, -2.0F});

}  // namespace

TEST_CASE("the median of an even number of values lies between the middle two") {
  CHECK(bench::median({3}) == 3);
  CHECK(bench::median({9, 1, 2}) == 2);
  CHECK(bench::median({4, 1, 2, 9}) == 3);
}

TEST_CASE("the deviation is relative to the largest value and infinite where nothing can be compared") {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const at::Tensor zero = at::zeros({2});
  CHECK(bench::relative_deviation(kOne, kOne) == 0);
  CHECK(bench::relative_deviation(at::tensor({1.0F, -1.0F}), kOne) == doctest::Approx(0.5));
  CHECK(bench::relative_deviation(zero, zero) == 0);
  CHECK(bench::relative_deviation(kOne, zero) == kInfinite);
  CHECK(bench::relative_deviation(kOne, kOne.unsqueeze(0)) == kInfinite);
  CHECK(bench::relative_deviation(at::full({2}, kInfinite), at::full({2}, kInfinite)) == kInfinite);
  const at::Tensor long_one = at::ones({(1 << 22) + 3});  // more than is looked at in one go
  at::Tensor other = long_one.clone();
  other[-1].fill_(1.25);
  CHECK(bench::relative_deviation(other, long_one) == doctest::Approx(0.25));
  CHECK(bench::relative_deviation(long_one, other) == doctest::Approx(0.2));
  CHECK(bench::relative_deviation(at::full({2}, std::numeric_limits<float>::quiet_NaN()), kOne) == kInfinite);
}

TEST_CASE("warming up is not timed, but what it computes counts") {
  bench::Measurement m = measurement({kOne * 1.1, kOne}, kOne);
  m.warm_up();
  CHECK(m.repeat() == 2);
  CHECK(m.figures().seconds == std::vector<double>{2});
  CHECK(m.figures().against == "reference");
  CHECK(m.figures().deviation == doctest::Approx(0.1));
  CHECK_FALSE(m.figures().right());
}

TEST_CASE("a result is right within the limit, which the caller may set") {
  const at::Tensor near = kOne * (1 + 1e-6);
  bench::Measurement usual = measurement({near}, kOne);
  usual.repeat();
  CHECK(usual.figures().right());
  CHECK(usual.figures().limit == 1e-5);
  bench::Measurement strict = measurement({near}, kOne, 1e-8);
  strict.repeat();
  CHECK_FALSE(strict.figures().right());
}

TEST_CASE("without a reference every run must equal the first, and the first be finite") {
  bench::Measurement same = measurement({kOne}, std::nullopt);
  bench::Measurement drifting = measurement({kOne, kOne * (1 + 1e-6)}, std::nullopt);
  bench::Measurement broken = measurement({at::full({2}, std::numeric_limits<float>::quiet_NaN())}, std::nullopt);
  for (bench::Measurement* m : {&same, &drifting, &broken}) {
    m->warm_up();
    m->repeat();
    CHECK(m->figures().against == "first run");
  }
  CHECK(same.figures().right());
  CHECK_FALSE(drifting.figures().right());
  CHECK_FALSE(broken.figures().right());
  CHECK(bench::to_json(broken.figures())["correctness"]["deviation"].is_null());
}

TEST_CASE("as JSON the figures have their spread and their correctness") {
  bench::Measurement m = measurement({kOne}, kOne);
  for (int i = 0; i < 4; ++i) m.repeat();
  const nlohmann::json json = bench::to_json(m.figures());
  CHECK(json["piece"] == "piece");
  CHECK(json["unit"] == "unit");
  CHECK(json["seconds"] == nlohmann::json{1.0, 2.0, 3.0, 4.0});
  CHECK(json["median_s"] == 2.5);
  CHECK(json["min_s"] == 1.0);
  CHECK(json["max_s"] == 4.0);
  CHECK(json["correctness"]["right"] == true);
  CHECK(json["correctness"]["deviation"] == 0.0);
}

TEST_CASE("the JSON says what is known of memory, kernels and rate, and null of the rest") {
  bench::Measurement m = measurement({kOne}, kOne);
  for (int i = 0; i < 4; ++i) m.repeat();
  CHECK(bench::to_json(m.figures())["tflops"].is_null());
  m.finish();
  const nlohmann::json json = bench::to_json(m.figures());
  CHECK(json["tflop"] == 5.0);
  CHECK(json["tflops"] == 2.0);  // at the median of 2.5 seconds
  CHECK(json["memory"]["plan"] == memory::to_json(kPlan));
  CHECK(json["memory"]["plan"]["peak"] == 7);
  CHECK(json["memory"]["allocated"].is_null());  // there is no GPU's allocator
  CHECK(json["memory"]["reserved"].is_null());
  CHECK(json["kernels"]["attention"].is_null());
}

// Repeats a piece, times it and holds every result against what it should be: no speed without its correctness.
//
// Plain objects; one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/bench/piece.h"
#include "nightreel/memory/plan.h"

namespace nightreel::bench {

/// max |ours - theirs| / max |theirs|; infinite where shapes differ or something is not finite.
double relative_deviation(const at::Tensor& ours, const at::Tensor& theirs);

/// Middle of the sorted values, the mean of the two middle ones where their number is even. `values` is not empty.
double median(std::vector<double> values);

struct Figures {
  PieceKind kind;
  std::vector<double> seconds;  // each repeat's, a unit
  std::string against;          // "reference", "first run"
  double deviation = 0;         // the worst of all runs, warm-up included
  double limit = 0;
  std::optional<memory::MemoryPlan> plan;  // by which it ran
  std::optional<MemoryUse> memory;         // from before it was loaded to its last run; none on a CPU
  std::optional<std::string> attention;    // see attention_kernel()
  std::optional<double> operations;        // of a unit

  /// Not for a NaN, which compares with nothing.
  bool right() const { return deviation <= limit; }
};

/// Fields: piece, unit, seconds, median_s, min_s, max_s, correctness {against, deviation (null: not finite or of
/// another shape), limit, right}, memory {plan (job::to_json), allocated, reserved}, bytes, kernels {attention}, tflop
/// of a unit, and tflops: those of a second at the median. What is not known is null.
nlohmann::json to_json(const Figures& figures);

class Measurement {
 public:
  /// `expected`: what the piece should compute; absent: what its first run computed, bit for bit on a CPU. `limit`:
  /// of the deviation; absent: the kind's.
  Measurement(PieceKind kind, std::unique_ptr<Piece> piece, const Workload& workload,
              std::optional<at::Tensor> expected, std::optional<double> limit);

  /// Runs without counting the time; the result counts.
  void warm_up();
  /// Runs once, checks the result, returns the seconds.
  double repeat();
  /// After the last run: what it made of the device since forget_peaks().
  void finish();

  const Figures& figures() const { return figures_; }

 private:
  double run_and_check();

  std::unique_ptr<Piece> piece_;
  at::Device device_;
  std::optional<at::Tensor> expected_;
  Figures figures_;
};

}  // namespace nightreel::bench

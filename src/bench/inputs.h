// What a piece is given: the reference's tensors of that piece, or numbers from a fixed seed.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "nightreel/bench/piece.h"

namespace nightreel::bench {

class Inputs {
 public:
  Inputs(std::string piece, const Reference* reference) : piece_(std::move(piece)), reference_(reference) {}

  /// float32 on the CPU, normally distributed where there is no reference. The shape is the model's to check.
  at::Tensor tensor(const std::string& name, at::IntArrayRef shape) const;

  /// A prompt as the pipeline pads it: [1, 512, width], zero from row `tokens` on.
  at::Tensor embeddings(const std::string& name, std::int64_t width, std::int64_t tokens) const;

  /// uint8 [height, width, 3]; no reference has any.
  at::Tensor picture(const std::string& name, std::int64_t height, std::int64_t width) const;

  bool has_reference() const { return reference_ != nullptr; }
  /// For a piece that outlives its reference.
  Inputs without_reference() const { return {piece_, nullptr}; }

  /// Token ids below `vocabulary`.
  std::vector<std::int64_t> tokens(const std::string& name, std::int64_t count, std::int64_t vocabulary) const;

 private:
  at::Tensor given(const std::string& name) const { return reference_->tensor(piece_ + "." + name); }

  std::string piece_;
  const Reference* reference_;
};

}  // namespace nightreel::bench

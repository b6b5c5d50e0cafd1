// One of the whole runs that tests/parity recorded from diffusers: its settings, its tensors, its checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "nightreel/pipeline/pipeline.h"
#include "nightreel/settings/settings.h"
#include "support/golden.h"

namespace nightreel::test {

class GoldenRun {
 public:
  /// `name`: a case of tests/parity/cases.py that has a pipeline; `run`: one of its runs.
  explicit GoldenRun(const std::string& name, const std::string& run = "pipeline");

  settings::Settings settings;
  const std::string& model_dir() const { return model_dir_; }
  at::Tensor tensor(const std::string& name) const { return golden_.tensor(name); }
  /// Embeddings as diffusers' text encoder gave them, [1, 512, E].
  at::Tensor prompt() const { return tensor("embeds"); }
  /// Likewise; undefined where the run had no guidance.
  at::Tensor negative() const { return golden_.has("negative_embeds") ? tensor("negative_embeds") : at::Tensor(); }
  /// The pictures of the video's size, as far as the run has them.
  pipeline::Pictures pictures() const;
  pipeline::Denoiser denoiser(at::Device device, at::ScalarType dtype,
                              std::optional<bool> keep_keys = std::nullopt) const;

 private:
  Golden golden_;
  std::string model_dir_;
};

}  // namespace nightreel::test

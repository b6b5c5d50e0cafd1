// One of the whole runs that tests/parity recorded from diffusers: its settings, its tensors, its checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>

#include "nightreel/job/settings.h"
#include "nightreel/pipeline/denoise.h"

namespace nightreel::test {

class GoldenRun {
 public:
  /// `name`: a case of tests/parity/cases.py that has a pipeline.
  explicit GoldenRun(const std::string& name);

  job::Settings settings;
  std::string model_dir() const { return folder_ + "/model"; }
  const at::Tensor& tensor(const std::string& name) const { return tensors_.at(name); }
  /// Embeddings as diffusers' text encoder gave them, [1, 512, E].
  const at::Tensor& prompt() const { return tensor("embeds"); }
  const at::Tensor& negative() const { return tensor("negative_embeds"); }
  pipeline::Denoiser denoiser(at::Device device, at::ScalarType dtype,
                              std::optional<bool> keep_keys = std::nullopt) const;

 private:
  std::string folder_;
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace nightreel::test

// What diffusers and transformers computed for the random checkpoints (tests/parity/README.md), and how near we are.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nightreel/weights/tensor_file.h"

namespace nightreel::test {

/// <build>/goldens/PATH.
std::string golden_path(const std::string& path);

/// The cases that have the file NAME, in order of name: golden_cases("vae.safetensors").
std::vector<std::string> golden_cases(const std::string& name);

/// One file of goldens: float32 tensors, and the settings in the JSON file beside it.
class Golden {
 public:
  /// `path` within the goldens, without extension: "plain/vae".
  explicit Golden(const std::string& path);
  bool has(const std::string& name) const { return file_.tensors().count(name) > 0; }
  at::Tensor tensor(const std::string& name) const { return file_.tensor(name).clone(); }
  nlohmann::json settings() const;

 private:
  std::string path_;
  weights::TensorFile file_;
};

/// max |ours - theirs| / max |theirs|; infinite where shapes differ or something is not finite. Any devices and dtypes.
double relative_error(const at::Tensor& ours, const at::Tensor& theirs);

/// relative_error, reported on stdout as "WHAT [shape] ERROR": one line a tensor.
double reported_error(const std::string& what, const at::Tensor& ours, const at::Tensor& theirs);

}  // namespace nightreel::test

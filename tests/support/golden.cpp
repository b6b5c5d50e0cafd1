#include "support/golden.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <limits>

#include "nightreel/base/json.h"

namespace nightreel::test {

std::string golden_path(const std::string& path) {
  const char* build = std::getenv("NIGHTREEL_BINARY_DIR");
  return std::string(build != nullptr ? build : ".") + "/goldens/" + path;
}

std::vector<std::string> golden_cases(const std::string& name) {
  std::vector<std::string> cases;
  for (const auto& entry : std::filesystem::directory_iterator(golden_path(""))) {
    if (std::filesystem::exists(entry.path() / name)) cases.push_back(entry.path().filename());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

Golden::Golden(const std::string& path)
    : path_(golden_path(path)), file_(weights::TensorFile::open_safetensors(path_ + ".safetensors")) {}

nlohmann::json Golden::settings() const {
  return base::read_json(path_ + ".json");
}

double relative_error(const at::Tensor& ours, const at::Tensor& theirs) {
  if (ours.sizes() != theirs.sizes() || theirs.numel() == 0) return std::numeric_limits<double>::infinity();
  const at::Tensor a = ours.to(at::kCPU, at::kDouble);
  const at::Tensor b = theirs.to(at::kCPU, at::kDouble);
  const double error = ((a - b).abs().max() / b.abs().max()).item<double>();
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

double reported_error(const std::string& what, const at::Tensor& ours, const at::Tensor& theirs) {
  const double error = relative_error(ours, theirs);
  std::cout << std::left << std::setw(44) << what << ' ' << std::setw(24) << c10::str(theirs.sizes()) << ' '
            << std::scientific << std::setprecision(2) << error << '\n';
  return error;
}

}  // namespace nightreel::test

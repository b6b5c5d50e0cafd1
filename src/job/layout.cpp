#include "job/layout.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

#include "nightreel/base/error.h"

namespace nightreel::job {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::string_view kWanted = "give the Diffusers folder, the one that holds model_index.json";
constexpr std::array<std::string_view, 6> kSingleFile{".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".sft"};
constexpr std::array<std::string_view, 5> kOriginalWan{"Wan2.1_VAE.pth", "Wan2.2_VAE.pth", "high_noise_model",
                                                       "low_noise_model", "models_t5_umt5-xxl-enc-bf16.pth"};

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::model, base::printable(path) + ": " + what + ": " + std::string(kWanted));
}

bool is_single_file(const fs::path& file) {
  const std::string extension = file.extension().string();
  return std::find(kSingleFile.begin(), kSingleFile.end(), extension) != kSingleFile.end();
}

void refuse_file(const std::string& path) {
  if (fs::path(path).extension() == ".gguf") refuse(path, "GGUF checkpoints are not supported");
  refuse(path,
         is_single_file(path) ? "single-file checkpoints are not supported" : "is a file, not a checkpoint's folder");
}

std::vector<fs::path> entries(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename());
  }
  if (error) throw Error(ErrorKind::model, base::printable(folder) + ": cannot be read: " + error.message());
  return names;
}

}  // namespace

void require_diffusers_folder(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) refuse(path, "no such folder");
  if (!fs::is_directory(status)) refuse_file(path);
  const auto names = entries(path);
  const auto has = [&](auto fits) { return std::any_of(names.begin(), names.end(), fits); };
  if (has([](const fs::path& n) { return n == "model_index.json"; })) return;
  if (has([](const fs::path& n) {
        return std::find(kOriginalWan.begin(), kOriginalWan.end(), n.string()) != kOriginalWan.end();
      })) {
    refuse(path, "is a folder in the original Wan layout, which this version does not read");
  }
  if (has([](const fs::path& n) { return n.extension() == ".gguf"; })) {
    refuse(path, "holds a GGUF checkpoint, which is not supported");
  }
  if (has([](const fs::path& n) { return n == "snapshots"; })) {
    refuse(path, "is a hub cache's folder, whose checkpoints lie in snapshots/");
  }
  if (has(is_single_file)) refuse(path, "holds single-file checkpoints, which are not supported");
  refuse(path, "has no model_index.json");
}

}  // namespace nightreel::job

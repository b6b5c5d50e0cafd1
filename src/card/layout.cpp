// Which layout of checkpoint a path is, and the one view of both.
#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "card/original.h"
#include "card/python_json.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/card/checkpoint.h"

namespace nightreel::card {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::string_view kWanted =
    "give the Diffusers folder, the one that holds model_index.json, or an original Wan folder";
constexpr std::array<std::string_view, 6> kSingleFile{".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".sft"};
constexpr const char* kModularIndex = "modular_model_index.json";
constexpr std::size_t kMaxJson = 16U << 20U;
constexpr std::array<const char*, 5> kComponents{"image_encoder", "text_encoder", "transformer", "transformer_2",
                                                 "vae"};

[[noreturn]] void refuse_layout(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::model, base::printable(path) + ": " + what + ": " + std::string(kWanted));
}

bool is_single_file(const fs::path& file) {
  const std::string extension = file.extension().string();
  return std::find(kSingleFile.begin(), kSingleFile.end(), extension) != kSingleFile.end();
}

void refuse_file(const std::string& path) {
  if (fs::path(path).extension() == ".gguf") refuse_layout(path, "GGUF checkpoints are not supported");
  refuse_layout(path, is_single_file(path) ? "single-file checkpoints are not supported"
                                           : "is a file, not a checkpoint's folder");
}

/// A folder of diffusers' modular pipelines, by the name of its class.
[[noreturn]] void refuse_modular(const std::string& folder) {
  const Json index = read_python_json(folder + "/" + kModularIndex, kMaxJson);
  const Json name = index.is_object() ? index.value("_class_name", Json()) : Json();
  const std::string known = name.is_string() ? name.get<std::string>() : "a modular pipeline";
  refuse_layout(folder, "is of diffusers' " + base::printable(known, 60) + ", which is not supported");
}

std::vector<fs::path> entries(const std::string& folder, std::error_code& error) {
  std::vector<fs::path> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename());
  }
  return names;
}

/// FOLDER of FOLDER/COMPONENT where that is in the original layout, else empty.
std::string original_root(const std::string& folder) {
  std::error_code error;
  const auto names = entries(folder, error);
  const bool original = !error && !base::exists(folder + "/model_index.json") &&
                        std::any_of(names.begin(), names.end(), [](const fs::path& n) { return is_original_name(n); });
  return original ? folder : std::string();
}

}  // namespace

Layout layout_of(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) refuse_layout(path, "no such folder");
  if (!fs::is_directory(status)) refuse_file(path);
  const auto names = entries(path, error);
  if (error) throw Error(ErrorKind::model, base::printable(path) + ": cannot be read: " + error.message());
  const auto has = [&](auto fits) { return std::any_of(names.begin(), names.end(), fits); };
  if (has([](const fs::path& n) { return n == "model_index.json"; })) return Layout::diffusers;
  if (has([](const fs::path& n) { return is_original_name(n.string()); })) return Layout::original;
  if (has([](const fs::path& n) { return n == kModularIndex; })) refuse_modular(path);
  if (has([](const fs::path& n) { return n.extension() == ".gguf"; })) {
    refuse_layout(path, "holds a GGUF checkpoint, which is not supported");
  }
  if (has([](const fs::path& n) { return n == "snapshots"; })) {
    refuse_layout(path, "is a hub cache's folder, whose checkpoints lie in snapshots/");
  }
  if (has(is_single_file)) refuse_layout(path, "holds single-file checkpoints, which are not supported");
  refuse_layout(path, "has no model_index.json");
}

CheckpointJson checkpoint_json(const std::string& path) {
  if (!base::exists(path)) {
    const fs::path file(path);
    const bool index = file.filename() == "model_index.json";
    const std::string root = base::parent_folder(index ? path : base::parent_folder(path));
    if (!original_root(root).empty()) {
      return original_json(root,
                           index ? "model_index.json" : (file.parent_path().filename() / file.filename()).string());
    }
  }
  return {read_python_json(path, kMaxJson), path};
}

std::vector<std::string> components_of(const std::string& folder) {
  const bool original = !original_root(folder).empty();
  const Json index = original ? original_json(folder, "model_index.json").json : Json();
  std::vector<std::string> found;
  for (const char* component : kComponents) {
    const bool there = original ? index.contains(component) && !index[component][0].is_null()
                                : fs::is_directory(folder + "/" + component);
    if (there) found.emplace_back(component);
  }
  return found;
}

std::string tokenizer_folder(const std::string& folder) {
  return original_root(folder).empty() ? folder + "/tokenizer" : folder + "/google/umt5-xxl";
}

bool is_original_component(const std::string& path) {
  const std::string component = fs::path(path).filename().string();
  const bool known = std::find(kComponents.begin(), kComponents.end(), component) != kComponents.end();
  return known && !original_root(base::parent_folder(path)).empty();
}

std::string original_weights(const std::string& path) {
  return original_weights_path(base::parent_folder(path), fs::path(path).filename().string());
}

}  // namespace nightreel::card

#include "nightreel/weights/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <optional>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/base/links.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/tensorfile/mapped_file.h"
#include "nightreel/weights/original_names.h"
#include "nightreel/weights/tensor_bytes.h"

namespace nightreel::weights {

namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;
using base::Json;
using tensorfile::refuse_file;

constexpr std::array<const char*, 2> kStems{"diffusion_pytorch_model", "model"};
constexpr std::size_t kNamed = 5;              // problems that a message names
constexpr std::int64_t kMaxStandIn = 1 << 24;  // elements; above, a wrong config must not cost memory

/// A link to nothing is no file that could be left out: it is refused by name.
bool is_file(const std::string& path) {
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return true;
  if (const std::string dangling = base::dangling_link(path); !dangling.empty()) refuse_file(path, dangling);
  return false;
}

/// ModelScope's names of Wan's weights: diffusion_pytorch_model-00001-of-00003-bf16.safetensors.
std::string without_variant(const std::string& name) {
  for (const char* variant : {"-bf16", "-fp16", "-fp32", ".bf16", ".fp16", ".fp32"}) {
    const auto at = name.rfind(variant);
    if (at != std::string::npos) return std::string(name).erase(at, std::string(variant).size());
  }
  return name;
}

/// Why a folder (or file) without safetensors of the expected names is refused: names the format that it has.
std::string no_weights(const std::string& folder) {
  const std::string wanted = "diffusion_pytorch_model.safetensors or model.safetensors (or their .index.json)";
  std::error_code trouble;
  if (is_file(folder)) return "a single-file checkpoint; this program reads Diffusers folders";
  fs::directory_iterator entries(folder, trouble);
  if (trouble) return "cannot open the folder: " + trouble.message();
  std::set<std::string> others;
  for (const auto& entry : entries) {
    const std::string extension = entry.path().extension().string();
    for (const char* known : {".gguf", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".onnx", ".safetensors"}) {
      if (extension == known) others.insert(entry.path().filename().string());
    }
  }
  if (others.empty()) return "no " + wanted;
  for (const std::string& name : others) {
    const std::string plain = without_variant(name);
    const bool variant = plain != name && plain.ends_with(".safetensors") && plain.rfind(kStems[0], 0) == 0;
    if (!variant) continue;
    return "no " + wanted + "; " + base::printable(name) + " is a variant by its name: rename it to " +
           base::printable(plain) + ", and so the others, the index (diffusion_pytorch_model.safetensors.index.json) " +
           "and the names in its weight_map";
  }
  return "no " + wanted + "; " + base::printable(*others.begin()) + " is not read: save the model with diffusers' " +
         "save_pretrained, as safetensors and without a variant";
}

/// weight_map of an index: tensor -> file name without folders.
std::map<std::string, std::string> read_index(const std::string& path) {
  const Json index = base::read_json(path);
  const Json map = index.is_object() ? index.value("weight_map", Json()) : Json();
  if (!map.is_object() || map.empty()) refuse_file(path, "weight_map: missing, empty or not an object");
  std::map<std::string, std::string> file_of;
  for (const auto& [name, file] : map.items()) {
    const std::string at = "weight_map: " + base::printable(name) + ": ";
    if (!file.is_string()) refuse_file(path, at + "not a file name");
    const auto text = file.get<std::string>();
    if (text.empty() || text.find('/') != std::string::npos || text.find('\0') != std::string::npos) {
      refuse_file(path, at + base::printable(text) + " is not the name of a file in this folder");
    }
    file_of.emplace(name, text);
  }
  return file_of;
}

}  // namespace

WeightMap WeightMap::open(const std::string& folder, TensorReader* reader) {
  WeightMap weights = card::is_original_component(folder) ? open_original(folder) : open_folder(folder);
  weights.component_ = fs::path(folder).filename().string();
  weights.reader_ = reader;
  return weights;
}

at::Tensor WeightMap::read(const std::string& name) const {
  return reader_ != nullptr ? reader_->read(component_, *this, name) : tensor(name);
}

WeightMap WeightMap::open_folder(const std::string& folder) {
  WeightMap weights(folder);
  for (const char* stem : kStems) {
    const std::string single = folder + "/" + stem + ".safetensors";
    const std::string index = single + ".index.json";
    if (is_file(index)) {  // as diffusers: where both are there, the index says what counts
      const auto file_of = read_index(index);
      std::set<std::string> shards;
      for (const auto& [name, file] : file_of) shards.insert(file);
      for (const std::string& shard : shards) weights.add(TensorFile::open_safetensors(folder + "/" + shard));
      weights.check_index(file_of, index);
      return weights;
    }
    if (is_file(single)) {
      weights.add(TensorFile::open_safetensors(single));
      return weights;
    }
  }
  refuse_file(folder, no_weights(folder));
}

WeightMap WeightMap::open_original(const std::string& folder) {
  const std::string original = card::original_weights(folder);
  WeightMap stored(original);
  if (fs::is_directory(original)) {
    stored = open_folder(original);
  } else {
    stored.add(TensorFile::open(original));
  }
  const std::string component = fs::path(folder).filename().string();
  const OriginalNames names(folder);
  WeightMap weights(original);
  weights.files_ = std::move(stored.files_);
  for (auto& [name, entry] : stored.entries_) {
    StoredTensor& tensor = entry.stored;
    tensor.shape = OriginalNames::diffusers_shape(component, name, tensor.shape);
    const std::vector<std::string> parts = names.diffusers(name);
    if (parts.size() == 1) {
      weights.add(parts[0], entry);
      continue;
    }
    const auto count = static_cast<std::int64_t>(parts.size());
    if (count > 0 && (!tensor.row_major() || tensor.shape.empty() || tensor.shape[0] % count != 0)) {
      refuse_file(original, "tensor " + base::printable(name) + ": is not " + std::to_string(count) +
                                " matrices one below the other");
    }
    if (count > 0) {
      tensor.shape[0] /= count;
      tensor.bytes /= parts.size();
    }
    for (const std::string& part : parts) {
      weights.add(part, entry);
      tensor.offset += tensor.bytes;
    }
  }
  return weights;
}

void WeightMap::add(TensorFile file) {
  files_.push_back(std::move(file));
  for (const auto& [name, stored] : files_.back().tensors()) add(name, {files_.size() - 1, stored});
}

void WeightMap::add(const std::string& name, Entry entry) {
  const auto [at, added] = entries_.emplace(name, std::move(entry));
  if (added) return;
  refuse_file(files_[entry.file].path(),
              "tensor " + base::printable(name) + ": also in " + files_[at->second.file].path());
}

void WeightMap::check_index(const std::map<std::string, std::string>& file_of, const std::string& index) const {
  for (const auto& [name, file] : file_of) {
    if (!has(name) || fs::path(this->file_of(name).path()).filename() != file) {
      refuse_file(index, "tensor " + base::printable(name) + ": not in " + base::printable(file));
    }
  }
  for (const auto& [name, entry] : entries_) {
    if (file_of.count(name) == 0) {
      refuse_file(files_[entry.file].path(), "tensor " + base::printable(name) + ": not listed in " + index);
    }
  }
}

std::string WeightMap::misfit(const std::string& name, at::IntArrayRef shape) const {
  if (!has(name)) return base::printable(name) + " (missing)";
  const StoredTensor& found = stored(name);
  if (at::IntArrayRef(found.shape) == shape) return {};
  return base::printable(name) + " (has shape " + shape_text(found.shape) + ", config.json makes it " +
         shape_text(shape) + ")";
}

at::Tensor WeightMap::take(const std::string& name, at::IntArrayRef shape) {
  const at::Tensor numbers = take_stored(name, shape);
  return numbers.scalar_type() == at::kFloat8_e4m3fn ? ops::dequantise({numbers, scale(name)}) : numbers;
}

at::Tensor WeightMap::take(const ListedTensor& wanted) {
  const at::Tensor numbers = take(name_of(wanted), wanted.shape);
  if (!wanted.also.empty() && has(wanted.name) && has(wanted.also)) expect_tied(wanted, numbers);
  return numbers;
}

const std::string& WeightMap::name_of(const ListedTensor& wanted) const {
  return !wanted.also.empty() && !has(wanted.name) && has(wanted.also) ? wanted.also : wanted.name;
}

void WeightMap::expect_tied(const ListedTensor& wanted, const at::Tensor& numbers) {
  const at::Tensor copy = take(wanted.also, wanted.shape);
  const bool same = reads_alone() ? bytes(wanted.name) == bytes(wanted.also)
                                  : at::equal(copy, numbers);  // the file is for others to read
  if (same && stored(wanted.name).type == stored(wanted.also).type) return;
  throw Error(ErrorKind::model,
              component_ + ": tensors " + wanted.name + " and " + wanted.also + " differ; they are tied");
}

bool WeightMap::is_scale(const std::string& name) const {
  const std::string of_nothing = scale_name("");
  if (!name.ends_with(of_nothing)) return false;
  const std::string matrix = name.substr(0, name.size() - of_nothing.size());
  return has(matrix) && stored(matrix).type == StoredType::f8_e4m3;
}

at::Tensor WeightMap::take_stored(const std::string& name, at::IntArrayRef shape) {
  taken_.insert(name);
  if (has(scale_name(name))) taken_.insert(scale_name(name));
  const std::string problem = misfit(name, shape);
  if (problem.empty()) return read(name);
  misfits_.push_back(problem);
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(elements, size, &elements)) elements = std::numeric_limits<std::int64_t>::max();
  }
  if (misfits_.size() >= kNamed || elements > kMaxStandIn) refuse(misfits_);
  return at::full({}, std::numeric_limits<float>::quiet_NaN()).expand(shape);
}

ops::Quantised WeightMap::take_fp8(const std::string& name, at::IntArrayRef shape, at::Device device) {
  const at::Tensor numbers = take_stored(name, shape);
  if (numbers.scalar_type() != at::kFloat8_e4m3fn) return ops::quantise(numbers.to(device));
  return {numbers.to(device), scale(name).to(device)};
}

at::Tensor WeightMap::scale(const std::string& name) const {
  const std::string scale = scale_name(name);
  const std::vector<std::int64_t>& shape = stored(name).shape;
  if (!has(scale)) refuse_file(path_of(name), "tensor " + base::printable(name) + ": fp8 without its scale, " + scale);
  const StoredTensor& found = stored(scale);
  if (shape.size() != 2 || found.shape != std::vector<std::int64_t>{shape[0], 1} || found.type != StoredType::f32) {
    refuse_file(path_of(scale), "tensor " + base::printable(scale) + ": is no float32 for each row of a matrix");
  }
  return read(scale);
}

void WeightMap::expect_all_taken() const {
  std::vector<std::string> problems = misfits_;
  for (const std::string& name : surplus()) problems.push_back(base::printable(name) + " (not part of this model)");
  if (!problems.empty()) refuse(problems);
}

std::vector<std::string> WeightMap::surplus() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) {
    if (taken_.count(name) == 0) names.push_back(name);
  }
  return names;
}

void WeightMap::refuse(const std::vector<std::string>& problems) const {
  std::string list;
  for (std::size_t i = 0; i < std::min(problems.size(), kNamed); ++i) list += (i == 0 ? "" : ", ") + problems[i];
  if (problems.size() > kNamed) list += ", … (" + std::to_string(problems.size()) + " in all)";
  refuse_file(folder_, (problems.size() == 1 ? "tensor " : "tensors ") + list);
}

std::vector<std::string> WeightMap::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

at::Tensor WeightMap::tensor(const std::string& name) const {
  return file_of(name).tensor(name, stored(name));
}

std::string_view WeightMap::bytes(const std::string& name) const {
  if (stored(name).row_major()) return file_of(name).bytes(stored(name));
  const auto [copy, added] = copies_.try_emplace(name);
  if (added) copy->second = tensor(name).contiguous();
  return {static_cast<const char*>(copy->second.const_data_ptr()), copy->second.nbytes()};
}

void WeightMap::release(const std::string& name) const {
  copies_.erase(name);
  file_of(name).release(stored(name));
}

}  // namespace nightreel::weights

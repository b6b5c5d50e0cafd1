// The weights of one component of a checkpoint (transformer/, vae/, text_encoder/), in Diffusers layout.
//
// A module takes its tensors by name and shape, and in the end says that it has all: a tensor that is missing, has
// another shape, is stored in a dtype that this program does not read, or is left over is a base::Error{model} that
// names the folder and the tensors. Files are mapped, not read (safetensors.h). One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/model/safetensors.h"

namespace nightreel::model {

class WeightMap {
 public:
  /// Opens `folder`: diffusion_pytorch_model.safetensors or model.safetensors, or the shards that its .index.json
  /// lists (which must name each tensor exactly where it is). Symbolic links are followed. Other formats are refused
  /// by name.
  static WeightMap open(const std::string& folder);

  /// The tensor as stored: it aliases the mapped file where its address allows, so it must not be written to.
  /// A tensor that does not fit is remembered, and NaN of the shape that was asked for stands in for it, so that
  /// expect_all_taken() can name several; from the fifth, or a large one, on it throws at once.
  at::Tensor take(const std::string& name, at::IntArrayRef shape);

  /// A tensor that may be there and that nobody needs: it counts as taken.
  void skip(const std::string& name) { taken_.insert(name); }

  bool has(const std::string& name) const { return files_of_.count(name) > 0; }

  /// Throws for every tensor that did not fit and every one that nobody took. To be called after the last take(),
  /// before the tensors are used.
  void expect_all_taken() const;

  /// All tensors by name, for digests and listings.
  std::vector<std::string> names() const;
  const StoredTensor& stored(const std::string& name) const;
  std::string_view bytes(const std::string& name) const;

 private:
  explicit WeightMap(std::string folder) : folder_(std::move(folder)) {}
  void add(SafetensorsFile file);
  void check_index(const std::map<std::string, std::string>& file_of, const std::string& index) const;
  const SafetensorsFile& file_of(const std::string& name) const { return files_[files_of_.at(name)]; }
  std::string misfit(const std::string& name, at::IntArrayRef shape) const;
  [[noreturn]] void refuse(const std::vector<std::string>& problems) const;

  std::string folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> files_of_;  // tensor -> index in files_
  std::set<std::string> taken_;
  std::vector<std::string> misfits_;
};

}  // namespace nightreel::model

// The weights of one component of a checkpoint (transformer/, vae/, text_encoder/), by their Diffusers names.
//
// A module takes its tensors by name and shape, and in the end says that it has all: a tensor that is missing, has
// another shape, is stored in a dtype that this program does not read, or is left over is a base::Error{model} that
// names the folder and the tensors. Files are mapped, not read (tensor_file.h). One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/ops/quantised.h"
#include "nightreel/weights/tensor_file.h"
#include "nightreel/weights/tensor_list.h"

namespace nightreel::weights {

class WeightMap;

/// Where take() has tensors come from, if not from the mapped files alone.
class TensorReader {
 public:
  virtual ~TensorReader() = default;
  /// The numbers of weights.tensor(name), on any device. `component`: "transformer", "vae", …
  virtual at::Tensor read(const std::string& component, const WeightMap& weights, const std::string& name) = 0;
};

class WeightMap {
 public:
  /// Opens `folder`, FOLDER/COMPONENT: diffusion_pytorch_model.safetensors or model.safetensors, or the shards that its
  /// .index.json lists (which must name each tensor exactly where it is). Symbolic links are followed. Where FOLDER is
  /// an original Wan folder (card/checkpoint.h) it opens what that has instead, safetensors or .pth, and names the
  /// tensors as Diffusers does. Other formats are refused by name. `reader`: null, or what take() asks, which must
  /// outlive this object or the call of read_alone().
  static WeightMap open(const std::string& folder, TensorReader* reader = nullptr);

  /// From now on take() reads from the files alone.
  void read_alone() { reader_ = nullptr; }
  bool reads_alone() const { return reader_ == nullptr; }

  /// The tensor as stored: it aliases the mapped file where its address allows, so it must not be written to. One that
  /// is stored in fp8 (F8_E4M3, with its scale for each row under NAME_scale) comes as float32.
  /// A tensor that does not fit is remembered, and NaN of the shape that was asked for stands in for it, so that
  /// expect_all_taken() can name several; from the fifth, or a large one, on it throws at once.
  at::Tensor take(const std::string& name, at::IntArrayRef shape);
  /// The same by whichever of its names the file has it. Throws where it has two, and their numbers differ.
  at::Tensor take(const ListedTensor& wanted);
  /// The name by which take() has it: the first that the file has.
  const std::string& name_of(const ListedTensor& wanted) const;
  /// The matrix in fp8 on `device`: as stored where it is stored so, else rounded there.
  ops::Quantised take_fp8(const std::string& name, at::IntArrayRef shape, at::Device device);

  /// A tensor that may be there and that nobody needs: it counts as taken.
  void skip(const std::string& name) { taken_.insert(name); }

  bool has(const std::string& name) const { return entries_.count(name) > 0; }

  /// Throws for every tensor that did not fit and every one that nobody took. To be called after the last take(),
  /// before the tensors are used.
  void expect_all_taken() const;

  /// All tensors by name, for digests and listings.
  std::vector<std::string> names() const;
  const StoredTensor& stored(const std::string& name) const { return entries_.at(name).stored; }
  /// Row by row; valid while this object lives.
  std::string_view bytes(const std::string& name) const;
  /// As stored, fp8 too; it does not count as taken.
  at::Tensor tensor(const std::string& name) const;
  /// Of an fp8 matrix: float32 [rows, 1]. Throws where it is missing or has another shape.
  at::Tensor scale(const std::string& name) const;
  /// Its pages no longer count as this process's memory (tensor_file.h).
  void release(const std::string& name) const;
  /// Where the tensor is, for errors.
  const std::string& path_of(const std::string& name) const { return file_of(name).path(); }

  /// The name under which the scale of an fp8 tensor is stored: [rows, 1], float32.
  static std::string scale_name(const std::string& name) { return name + "_scale"; }
  /// Whether `name` is that of a scale, and of a tensor that is stored in fp8 here.
  bool is_scale(const std::string& name) const;

 private:
  struct Entry {
    std::size_t file;
    StoredTensor stored;
  };

  explicit WeightMap(std::string folder) : folder_(std::move(folder)) {}
  static WeightMap open_folder(const std::string& folder);
  static WeightMap open_original(const std::string& folder);
  at::Tensor read(const std::string& name) const;
  void add(TensorFile file);
  void add(const std::string& name, Entry entry);
  void check_index(const std::map<std::string, std::string>& file_of, const std::string& index) const;
  const TensorFile& file_of(const std::string& name) const { return files_[entries_.at(name).file]; }
  at::Tensor take_stored(const std::string& name, at::IntArrayRef shape);
  void expect_tied(const ListedTensor& wanted, const at::Tensor& numbers);
  std::string misfit(const std::string& name, at::IntArrayRef shape) const;
  std::vector<std::string> surplus() const;  // neither taken nor skipped
  [[noreturn]] void refuse(const std::vector<std::string>& problems) const;

  std::string folder_;
  std::string component_;
  TensorReader* reader_ = nullptr;
  std::vector<TensorFile> files_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> taken_;
  std::vector<std::string> misfits_;
  mutable std::map<std::string, at::Tensor> copies_;  // of those that have gaps between their rows
};

}  // namespace nightreel::weights

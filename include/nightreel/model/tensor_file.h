// One file of tensors, mapped into memory: what its readers (safetensors.h, pth.h) have in common.
//
// Nothing is copied: a tensor aliases the mapping and keeps it alive, also after the TensorFile is gone. The mapping is
// read-only, so such a tensor must never be written to. The readers check everything that a file says about its tensors
// against the file's size before a TensorFile exists; a file that shrinks while it is mapped still ends the process, as
// with every mapping. After it was opened the object does not change: any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::model {

class MappedFile;

/// A tensor as the file holds it.
struct StoredTensor {
  std::string dtype;  // safetensors' name of it: F32, BF16, …
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;                // of its first byte, from the start of the file
  std::uint64_t bytes = 0;                 // from its first element to its last
  std::vector<std::int64_t> strides = {};  // in elements; empty: row by row, without gaps

  bool row_major() const { return strides.empty(); }
};

class TensorFile {
 public:
  const std::string& path() const { return path_; }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

  /// The bytes of a row-major tensor of this file; valid while the file or one of its tensors lives.
  std::string_view bytes(const StoredTensor& stored) const;

  /// The tensor, on the CPU, in the dtype in which it is stored: F32, BF16, F16 or F8_E4M3; others are an
  /// Error{model}.
  at::Tensor tensor(const std::string& name) const;
  /// A part of this file's tensors as one: `name` is what errors call it.
  at::Tensor tensor(const std::string& name, const StoredTensor& stored) const;

  /// Tells the system that the pages of a tensor are not needed soon: they no longer count as this process's memory.
  void release(const StoredTensor& stored) const;

 protected:
  TensorFile(std::string path, std::shared_ptr<const MappedFile> mapping);
  const MappedFile& mapping() const { return *mapping_; }
  void add(const std::string& name, StoredTensor stored) { tensors_.emplace(name, std::move(stored)); }

 private:
  std::string path_;
  std::shared_ptr<const MappedFile> mapping_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace nightreel::model

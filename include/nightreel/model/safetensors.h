// One safetensors file, mapped into memory.
//
// Nothing is copied: a tensor aliases the mapping and keeps it alive, also after the SafetensorsFile is gone. The
// mapping is read-only, so such a tensor must never be written to. Everything that the header says is checked at
// open(), against the size of the file too, so that a truncated or hostile file is a base::Error{model} naming the
// file and the tensor; a file that shrinks while it is mapped still ends the process, as with every mapping. After
// open() the object does not change: any thread.
// Format: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::model {

/// A tensor as the file holds it.
struct StoredTensor {
  std::string dtype;  // the format's name of it: F32, BF16, …
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // of its first byte, from the start of the file
  std::uint64_t bytes = 0;
};

class SafetensorsFile {
 public:
  /// Refuses headers above 100 MB, duplicate names, unknown dtypes, tensors that overlap, leave holes or reach beyond
  /// the file, and sizes that do not follow from shape and dtype.
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

  /// The bytes of a tensor of this file; valid while the file or one of its tensors lives.
  std::string_view bytes(const StoredTensor& stored) const;

  /// The tensor, on the CPU, in the dtype in which it is stored: F32, BF16 or F16; others are an Error.
  at::Tensor tensor(const std::string& name) const;

 private:
  class Mapping;
  SafetensorsFile(std::string path, std::shared_ptr<const Mapping> mapping);

  std::string path_;
  std::shared_ptr<const Mapping> mapping_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace nightreel::model

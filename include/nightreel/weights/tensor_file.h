// One file of tensors, mapped into memory.
//
// Nothing is copied: a tensor aliases the mapping and keeps it alive, also after the TensorFile is gone. The mapping is
// read-only, so such a tensor must never be written to. What a file says about its tensors is checked (tensorfile)
// before a TensorFile exists; a file that shrinks while it is mapped still ends the process, as with every mapping.
// After it was opened the object does not change: any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/tensorfile/header.h"

namespace nightreel::tensorfile {
class MappedFile;
}

namespace nightreel::weights {

using tensorfile::StoredTensor;
using tensorfile::StoredType;

class TensorFile {
 public:
  /// In the format that the end of its name says (tensorfile/formats.h); any other is an Error{model}.
  static TensorFile open(const std::string& path);
  static TensorFile open_safetensors(const std::string& path);
  /// The same of an absolute path that was resolved: a symbolic link that stands in its way now is refused.
  static TensorFile open_resolved_safetensors(const std::string& path);

  const std::string& path() const;
  const std::map<std::string, StoredTensor>& tensors() const { return header_.tensors; }
  /// The strings of a safetensors header's __metadata__, unchecked.
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// The bytes of a row-major tensor of this file; valid while the file or one of its tensors lives.
  std::string_view bytes(const StoredTensor& stored) const;

  /// The tensor, on the CPU, in the dtype in which it is stored: F32, BF16, F16 or F8_E4M3; others are an
  /// Error{model}.
  at::Tensor tensor(const std::string& name) const;
  /// A part of this file's tensors as one: `name` is what errors call it.
  at::Tensor tensor(const std::string& name, const StoredTensor& stored) const;

  /// Tells the system that the pages of a tensor are not needed soon: they no longer count as this process's memory.
  void release(const StoredTensor& stored) const;

 private:
  TensorFile(std::shared_ptr<const tensorfile::MappedFile> mapping, tensorfile::Header header);

  std::shared_ptr<const tensorfile::MappedFile> mapping_;
  tensorfile::Header header_;
};

}  // namespace nightreel::weights

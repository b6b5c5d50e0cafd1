// A safetensors file.
//
// Everything that the header says is checked at open(), against the size of the file too, so that a truncated or
// hostile file is a base::Error{model} naming the file and the tensor. What it owns and which threads: tensor_file.h.
// Format: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <map>
#include <string>

#include "nightreel/model/tensor_file.h"

namespace nightreel::model {

class SafetensorsFile : public TensorFile {
 public:
  /// Refuses headers above 100 MB, duplicate names, unknown dtypes, tensors that overlap, leave holes or reach beyond
  /// the file, and sizes that do not follow from shape and dtype.
  static SafetensorsFile open(const std::string& path);
  /// The same of an absolute path that was resolved: a symbolic link that stands in its way now is refused.
  static SafetensorsFile open_resolved(const std::string& path);

  /// What the writer noted: the strings of the header's __metadata__, unchecked.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  using TensorFile::TensorFile;
  static SafetensorsFile read(const std::string& path, std::shared_ptr<const MappedFile> mapping);

  std::map<std::string, std::string> metadata_;
};

}  // namespace nightreel::model

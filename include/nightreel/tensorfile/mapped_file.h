// A whole file mapped into memory, read-only.
//
// Owns the mapping; const calls from any thread. A file that cannot be mapped is an Error{model} that names it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nightreel/base/file.h"

namespace nightreel::model {

/// Throws Error{model}: "PATH: WHY".
[[noreturn]] void refuse_file(const std::string& path, const std::string& why);

class MappedFile {
 public:
  /// `least`: bytes below which a file is too short to be a `what`.
  MappedFile(const std::string& path, std::uint64_t least, const std::string& what);
  /// The same of a file that is open; `path` is for messages.
  MappedFile(const base::Fd& file, const std::string& path, std::uint64_t least, const std::string& what);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::string_view bytes() const { return {static_cast<const char*>(address_), size_}; }
  /// For LibTorch, which knows no constant tensors: nobody may write there.
  void* at(std::uint64_t offset) const { return static_cast<char*>(address_) + offset; }
  /// The pages wholly inside these bytes are given back to the system; they are read again when touched.
  void release(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  void* address_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace nightreel::model

// A whole file mapped into memory, read-only.
//
// Owns the mapping; const calls from any thread. A file that cannot be mapped is an Error{model} that names it. One
// that shrinks while it is mapped ends the process, as with every mapping.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "nightreel/base/file.h"

namespace nightreel::tensorfile {

/// Throws Error{model}: "PATH: WHY".
[[noreturn]] void refuse_file(const std::string& path, const std::string& why);

/// A regular file that was opened for reading, and its size then.
struct OpenedFile {
  base::Fd fd;
  std::uint64_t bytes = 0;
};
/// As for MappedFile, without mapping it.
OpenedFile open_regular(const std::string& path, std::uint64_t least, const std::string& what);

class MappedFile {
 public:
  /// `least`: bytes below which a file is too short to be a `what`.
  MappedFile(const std::string& path, std::uint64_t least, const std::string& what);
  /// The same of a file that is open; `path` is for messages.
  MappedFile(const base::Fd& file, const std::string& path, std::uint64_t least, const std::string& what);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  MappedFile(MappedFile&& other) noexcept
      : path_(std::move(other.path_)),
        address_(std::exchange(other.address_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }

  std::string_view bytes() const { return {static_cast<const char*>(address_), size_}; }
  /// For LibTorch, which knows no constant tensors: nobody may write there.
  void* at(std::uint64_t offset) const { return static_cast<char*>(address_) + offset; }
  /// The pages wholly inside these bytes are given back to the system; they are read again when touched.
  void release(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  std::string path_;
  void* address_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace nightreel::tensorfile

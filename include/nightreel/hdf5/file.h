// The one place that calls HDF5: owners for its handles and checked verbs over them.
//
// Files are built and read in memory (HDF5's "core" driver); reading and writing the disk is base's business. So a full
// disk is met by code that can handle it: HDF5, once a write has failed, neither closes the file nor lets the process
// end in peace. It also gives whole-file replacement and checksums without a second pass over the disk.
//
// HDF5 has global state, and whether a build of it is thread-safe is its packager's choice: every function below takes
// one lock that file.cpp keeps. A File belongs to one thread at a time; different Files may be used at once.
// Everything throws Error{storage} that begins with the file's name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::hdf5 {

/// "1.10.8".
std::string version();

inline constexpr std::size_t kMaxRank = 8;
inline constexpr std::size_t kMaxFile = std::size_t{16} << 30U;  // bytes

/// The bytes of values that a file of `size` may hold: this program's own hold at most 17 times their size (a black
/// video with its frames), and a file may say that it holds terabytes.
constexpr std::size_t most_values(std::size_t size) {
  return (std::size_t{64} << 20U) + 24 * size;
}

enum class Type { float32, float64, int64, uint8 };

template <class T>
struct TypeOf;
template <>
struct TypeOf<float> {
  static constexpr Type value = Type::float32;
};
template <>
struct TypeOf<double> {
  static constexpr Type value = Type::float64;
};
template <>
struct TypeOf<std::int64_t> {
  static constexpr Type value = Type::int64;
};
template <>
struct TypeOf<std::uint8_t> {
  static constexpr Type value = Type::uint8;
};

std::size_t size_of(Type type);  // bytes of a value

using Shape = std::vector<std::int64_t>;

struct Layout {
  Shape chunk;      // empty: contiguous, then neither of the two below
  int deflate = 0;  // zlib's level; 0: not compressed
};

struct DatasetInfo {
  Type type = Type::float32;
  Shape shape;
  std::size_t count = 0;  // values
};

class File {
 public:
  /// An empty file. `name` is for messages.
  static File create(const std::string& name);
  /// The file whose bytes are `content` (copied). Nothing but these bytes is ever read.
  static File open(const std::string& name, std::string_view content);
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();

  void write_text(const std::string& attribute, const std::string& text);
  void write_integer(const std::string& attribute, std::int64_t value);
  /// Chunked data carry a Fletcher-32 checksum a chunk.
  void write(const std::string& name, Type type, const Shape& shape, const void* values, const Layout& layout);
  /// Ends the file; its bytes.
  std::string close();

  std::string text(const std::string& attribute) const;
  std::int64_t integer(const std::string& attribute) const;
  bool has(const std::string& name) const;
  bool has_attribute(const std::string& name) const;
  /// Names of the root group's members, sorted.
  std::vector<std::string> names() const;
  /// Refuses links, external and virtual data, other types, and more than most_values().
  DatasetInfo info(const std::string& name) const;
  /// A dataset's values as they lie in memory, info.count of info.type.
  std::string read(const std::string& name, const DatasetInfo& info) const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct Image;
  File(std::string name, std::size_t size);
  void read_shape(const std::string& name, std::int64_t space, std::size_t most, DatasetInfo& out) const;
  std::int64_t check(std::int64_t result, const std::string& what) const;
  std::string name_;
  std::size_t size_ = 0;          // of the content that was opened
  std::unique_ptr<Image> image_;  // of a file that is being written; outlives file_
  std::int64_t file_ = -1;
};

}  // namespace nightreel::hdf5

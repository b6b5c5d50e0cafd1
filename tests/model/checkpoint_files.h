// Small checkpoints written by tests, good and bad.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "nightreel/base/random.h"

namespace nightreel::test {

/// A folder that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / ("nightreel-" + base::random_hex(8))) {
    std::filesystem::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_.string(); }
  /// Writes the file and returns its path.
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

/// A safetensors file of this header and this data.
inline std::string file_bytes(const std::string& header, const std::string& data) {
  std::string length;
  for (unsigned shift = 0; shift < 64; shift += 8) {
    length += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> shift & 0xffU);
  }
  return length + header + data;
}

struct FloatTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  char fill = '\1';  // each byte
};

/// A safetensors file of F32 tensors.
inline std::string file_of(const std::vector<FloatTensor>& tensors) {
  std::string header;
  std::string data;
  for (const FloatTensor& tensor : tensors) {
    std::size_t bytes = 4;
    std::string shape;
    for (const std::int64_t size : tensor.shape) {
      bytes *= static_cast<std::size_t>(size);
      shape += (shape.empty() ? "" : ",") + std::to_string(size);
    }
    header += (header.empty() ? "\"" : ",\"") + tensor.name + R"(":{"dtype":"F32","shape":[)" + shape +
              R"(],"data_offsets":[)" + std::to_string(data.size()) + "," + std::to_string(data.size() + bytes) + "]}";
    data += std::string(bytes, tensor.fill);
  }
  return file_bytes("{" + header + "}", data);
}

}  // namespace nightreel::test

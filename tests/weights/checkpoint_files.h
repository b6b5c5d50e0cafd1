// Small checkpoints written by tests, good and bad.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nightreel::test {

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

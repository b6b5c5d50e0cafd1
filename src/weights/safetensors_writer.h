// Writes one safetensors file whose tensors are known in size before their numbers are.
//
// The header is written first, the numbers may come in any order and in pieces. Owns the file descriptor; one thread.
// Failures to write are Error{storage}. Tensors are laid out by the size of their type, largest first, so that each is
// aligned; the format forbids holes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nightreel/base/file.h"
#include "nightreel/tensorfile/header.h"

namespace nightreel::weights {

struct NewTensor {
  std::string name;
  tensorfile::StoredType type = tensorfile::StoredType::f32;
  std::vector<std::int64_t> shape;

  std::uint64_t bytes() const;
};

class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::string& path, std::vector<NewTensor> tensors);

  /// `at`: bytes from the tensor's first. Every byte of every tensor must be written once.
  void write(const std::string& name, std::uint64_t at, const void* data, std::uint64_t bytes);
  /// After the last write: makes the file safe against a power cut. Throws Error{internal} where bytes are missing.
  void finish();

 private:
  void put(std::uint64_t at, const void* data, std::uint64_t bytes);

  struct Place {
    std::uint64_t offset;
    std::uint64_t bytes;
  };
  std::string path_;
  base::Fd file_;
  std::map<std::string, Place> places_;
  std::uint64_t missing_ = 0;  // bytes that were not written yet
};

}  // namespace nightreel::weights

// Writes the tensors of one component into one file or several, with the index that names them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "weights/safetensors_writer.h"

namespace nightreel::weights {

/// Where a component's files go.
struct ComponentPlace {
  std::string folder;
  std::string stem;    // diffusion_pytorch_model, model, Wan2.1_VAE
  bool shards = true;  // false: always one file
};

class ComponentWriter {
 public:
  /// Tensors go to shards in the order of their names, of at most `shard_bytes` each where one tensor is not larger.
  ComponentWriter(const ComponentPlace& place, std::vector<NewTensor> tensors, std::uint64_t shard_bytes);

  /// As SafetensorsWriter's.
  void write(const std::string& name, std::uint64_t at, const void* data, std::uint64_t bytes);
  /// Finishes all files and writes the index where there are several.
  void finish();

 private:
  void write_index() const;

  ComponentPlace place_;
  std::vector<std::unique_ptr<SafetensorsWriter>> shards_;
  std::map<std::string, std::size_t> shard_of_;
  std::uint64_t bytes_ = 0;
};

}  // namespace nightreel::weights

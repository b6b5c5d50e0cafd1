// Checkpoints whose weights are random numbers, made on the device that computes: a machine is measured with a model
// for whose files it has no room.
//
// A folder has the configurations and, in place of each file of weights, its header and a hole: nothing of it is read,
// and it takes some kilobytes of the disk. Plain objects; one thread. Errors are base::Error{usage} for a name that is
// not known and base::Error{storage} for a folder that cannot be written.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nightreel/weights/weights.h"

namespace nightreel::bench {

/// A folder of its own among the temporary files, gone with the object.
class ScratchFolder {
 public:
  ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();
  std::string file(const std::string& name) const { return path_ / name; }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// t2v-a14b, i2v-a14b, ti2v-5b.
std::vector<std::string> random_names();

/// Writes the configurations of a model of the published dimensions into the folder `dir`, which is there. `name` is
/// one of random_names(), else Error{usage}.
void write_published_configs(const std::string& name, const std::string& dir);

/// Writes the weights' headers for the configurations in the Diffusers folder `dir`, which has no image encoder: the
/// VAE's for float32, all others for `dtype`, which is bfloat16 or float32. Their numbers are a hole of zeros.
void write_sparse_weights(const std::string& dir, at::ScalarType dtype);

/// Makes each tensor on a device, in the dtype that the header says, from a seed that its component and its name give:
/// the same on every run of one kind of device. Norms are ones. Matrices and kernels are normally distributed with
/// 1/sqrt(fan in), so that what goes through them keeps its size; biases and tables with 0.02. Refers to nothing.
class RandomWeights final : public weights::TensorReader {
 public:
  explicit RandomWeights(at::Device device) : device_(device) {}

  /// On the device, but for the text encoder's embedding, which is looked up on the host.
  at::Tensor read(const std::string& component, const weights::WeightMap& weights, const std::string& name) override;

 private:
  at::Device device_;
};

}  // namespace nightreel::bench

#include "nightreel/pipeline/memory_model.h"

#include <ATen/core/Tensor.h>

#include <cstddef>

#include "nightreel/model/checkpoint.h"
#include "nightreel/model/vae.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "nightreel/weights/weights.h"

namespace nightreel::pipeline {
namespace {

using memory::Part;

std::uint64_t numbers_in(const weights::StoredTensor& stored) {
  std::uint64_t count = 1;
  for (const std::int64_t size : stored.shape) count *= static_cast<std::uint64_t>(size);
  return count;
}

/// What a module holds of a component's tensors.
struct Held {
  std::uint64_t bytes = 0;        // on its device
  std::uint64_t block_bytes = 0;  // of these, its blocks'
  std::uint64_t host_bytes = 0;
  std::uint64_t matrix_numbers = 0;  // of what it may hold in fp8
  std::uint64_t matrix_rows = 0;
};

/// `dtype_bytes`: of a number in the module's type.
Held held_of(const weights::WeightMap& weights, const weights::TensorList& list, std::uint64_t dtype_bytes) {
  Held held;
  for (const std::string& name : weights.names()) {
    if (weights.is_scale(name)) continue;  // read with its matrix, and held with it where that is held in fp8
    const weights::StoredTensor& stored = weights.stored(name);
    const weights::ListedTensor* known = list.find(name);
    const weights::ListedTensor listed = known != nullptr ? *known : weights::ListedTensor{name, stored.shape};
    if (listed.use != weights::Use::held || name != weights.name_of(listed)) continue;
    const std::uint64_t bytes = numbers_in(stored) * (listed.float32 ? sizeof(float) : dtype_bytes);
    (listed.on_host ? held.host_bytes : held.bytes) += listed.on_host ? stored.bytes : bytes;
    if (listed.block) held.block_bytes += bytes;
    if (!listed.fp8) continue;
    held.matrix_numbers += numbers_in(stored);
    held.matrix_rows += static_cast<std::uint64_t>(stored.shape.at(0));
  }
  return held;
}

class Reader {
 public:
  Reader(const card::Card& card, const Precision& precision)
      : card_(card), dtype_bytes_(c10::elementSize(precision.dtype)) {
    out_.gpu = precision.gpu;
    out_.fp8_products = precision.fp8_products;
    out_.allocator = precision.gpu ? precision.allocator : memory::Allocator::exact;
    out_.element_bytes = static_cast<std::int64_t>(dtype_bytes_);
    out_.keep_keys = keeps_keys(precision.keep_keys, precision.gpu);
    out_.both_prompts = !precision.gpu;
  }

  memory::MemoryModel read() {
    out_.transformer = card_.transformer();
    out_.vae = card_.vae;
    out_.text = card_.text_encoder;
    out_.clip = card_.image_encoder;
    for (std::size_t i = 0; i < card_.experts.size(); ++i) read_transformer(i);
    // Its statistics of latents come from its configuration; it computes in float32 whatever else does.
    const auto statistics = static_cast<std::uint64_t>(2 * card_.vae.z_dim) * sizeof(float);
    weights(Part::vae) = held("vae", model::tensors_of(card_.vae), sizeof(float)).bytes + statistics;
    const Held text = held("text_encoder", model::tensors_of(card_.text_encoder), dtype_bytes_);
    weights(Part::text_encoder) = text.bytes;
    out_.host_weights = text.host_bytes;
    if (!card_.image_encoder) return out_;
    weights(Part::image_encoder) = held("image_encoder", model::tensors_of(*card_.image_encoder), dtype_bytes_).bytes;
    return out_;
  }

 private:
  Held held(const std::string& component, const weights::TensorList& list, std::uint64_t dtype_bytes) const {
    return held_of(weights::WeightMap::open(card_.folder + "/" + component), list, dtype_bytes);
  }
  std::uint64_t& weights(Part part) { return out_.weights.at(static_cast<std::size_t>(part)); }

  void read_transformer(std::size_t expert) {
    const Held found = held(card_.experts[expert], model::tensors_of(card_.transformers[expert]), dtype_bytes_);
    weights(expert == 0 ? Part::transformer : Part::transformer_2) = found.bytes;
    out_.block_weights = found.block_bytes;
    out_.linear_weights = found.matrix_numbers;
    out_.linear_rows = found.matrix_rows;
  }

  const card::Card& card_;
  std::uint64_t dtype_bytes_;
  memory::MemoryModel out_;
};

}  // namespace

Precision precision_on(at::Device device, at::ScalarType dtype, bool fp8, const std::optional<bool>& keep_keys) {
  return {dtype, device.is_cuda(), keep_keys, fp8, allocator_of(device), ops::has_fp8_products(device)};
}

memory::MemoryModel vae_memory_model(model::Vae& vae, memory::Allocator allocator) {
  memory::MemoryModel out;
  out.gpu = allocator != memory::Allocator::exact;
  out.allocator = allocator;
  out.vae = vae.config();
  std::uint64_t& bytes = out.weights.at(static_cast<std::size_t>(Part::vae));
  vae.each_weight([&](const at::Tensor& weight) { bytes += weight.nbytes(); });
  return out;
}

bool keeps_keys(const std::optional<bool>& wanted, bool gpu) {
  return wanted.value_or(!gpu);
}

memory::MemoryModel memory_model(const card::Card& card, const Precision& precision) {
  const memory::MemoryModel model = Reader(card, precision).read();
  return precision.fp8 ? memory::in_fp8(model) : model;
}

}  // namespace nightreel::pipeline

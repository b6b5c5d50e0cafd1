#include "nightreel/pipeline/memory_model.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <set>

#include "nightreel/model/vae.h"
#include "nightreel/model/weights.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/pipeline/gpu_memory.h"

namespace nightreel::pipeline {
namespace {

using job::Part;

bool has(const std::string& name, const std::string& part) {
  return name.find(part) != std::string::npos;
}

bool begins(const std::string& name, const std::string& part) {
  return name.rfind(part, 0) == 0;
}

std::uint64_t numbers_in(const model::StoredTensor& stored) {
  std::uint64_t count = 1;
  for (const std::int64_t size : stored.shape) count *= static_cast<std::uint64_t>(size);
  return count;
}

/// Of an fp8 matrix: read with it, and held with it where it is held in fp8.
bool is_scale(const model::WeightMap& weights, const std::string& name) {
  const std::string of_nothing = model::WeightMap::scale_name("");
  if (name.size() <= of_nothing.size() ||
      name.compare(name.size() - of_nothing.size(), of_nothing.size(), of_nothing) != 0)
    return false;
  const std::string matrix = name.substr(0, name.size() - of_nothing.size());
  return weights.has(matrix) && weights.stored(matrix).type == model::StoredType::f8_e4m3;
}

/// Bytes a number of the tensor `name` as its module holds it; 0: it is not held.
using Width = std::function<std::uint64_t(const std::string& name)>;

std::uint64_t bytes_of(const model::WeightMap& weights, const Width& width) {
  std::uint64_t bytes = 0;
  for (const std::string& name : weights.names()) {
    if (!is_scale(weights, name)) bytes += width(name) * numbers_in(weights.stored(name));
  }
  return bytes;
}

/// What diffusers keeps in float32 (WanTransformer3DModel._keep_in_fp32_modules) stays so.
bool in_float32(const std::string& name) {
  return has(name, "time_embedder.") || has(name, "scale_shift_table") || has(name, ".norm2.") ||
         has(name, "image_embedder.norm");
}

/// Weights of a block's linear layers: most of a transformer.
bool is_linear(const model::WeightMap& weights, const std::string& name) {
  return begins(name, "blocks.") && weights.stored(name).shape.size() == 2 && !is_scale(weights, name);
}

class Reader {
 public:
  Reader(const card::Card& card, const Precision& precision)
      : card_(card), dtype_bytes_(c10::elementSize(precision.dtype)) {
    out_.gpu = precision.gpu;
    out_.fp8_products = precision.fp8_products;
    out_.allocator = precision.gpu ? precision.allocator : job::Allocator::exact;
    out_.element_bytes = static_cast<std::int64_t>(dtype_bytes_);
    out_.keep_keys = keeps_keys(precision.keep_keys, precision.gpu);
    out_.both_prompts = !precision.gpu;
  }

  job::MemoryModel read() {
    out_.transformer = card_.transformer();
    out_.vae = card_.vae;
    out_.text = card_.text_encoder;
    out_.clip = card_.image_encoder;
    read_transformer(card_.experts[0], Part::transformer);
    if (card_.two_experts()) read_transformer(card_.experts[1], Part::transformer_2);
    read_vae();
    read_text_encoder();
    if (card_.image_encoder) read_image_encoder(*card_.image_encoder);
    return out_;
  }

 private:
  model::WeightMap open(const std::string& component) const {
    return model::WeightMap::open(card_.folder + "/" + component);
  }
  std::uint64_t& weights(Part part) { return out_.weights.at(static_cast<std::size_t>(part)); }

  void read_transformer(const std::string& component, Part part) {
    const auto stored = open(component);
    const Width held_bytes = [&](const std::string& name) -> std::uint64_t {
      if (has(name, "norm_added_q.")) return 0;
      return in_float32(name) ? sizeof(float) : dtype_bytes_;
    };
    weights(part) = bytes_of(stored, held_bytes);
    out_.linear_weights = 0;
    out_.linear_rows = 0;
    out_.block_weights = bytes_of(stored, [&](const std::string& name) -> std::uint64_t {
      return begins(name, "blocks.") ? held_bytes(name) : 0;
    });
    for (const std::string& name : stored.names()) {
      if (!is_linear(stored, name)) continue;
      out_.linear_weights += numbers_in(stored.stored(name));
      out_.linear_rows += static_cast<std::uint64_t>(stored.stored(name).shape[0]);
    }
  }

  void read_vae() {
    const auto statistics =
        static_cast<std::uint64_t>(2 * card_.vae.z_dim) * sizeof(float);  // latents_mean, latents_std
    weights(Part::vae) = bytes_of(open("vae"), [](const auto&) { return sizeof(float); }) + statistics;
  }

  void read_text_encoder() {
    const std::set<std::string> embedding{"shared.weight", "encoder.embed_tokens.weight"};  // tied: one is held
    const auto stored = open("text_encoder");
    for (const std::string& name : embedding) {
      if (stored.has(name)) out_.host_weights = stored.stored(name).bytes;
    }
    weights(Part::text_encoder) = bytes_of(
        stored, [&](const std::string& name) -> std::uint64_t { return embedding.count(name) > 0 ? 0 : dtype_bytes_; });
  }

  void read_image_encoder(const card::ClipVisionConfig& c) {
    const std::string last = "encoder.layers." + std::to_string(c.num_hidden_layers - 1) + ".";
    weights(Part::image_encoder) = bytes_of(open("image_encoder"), [&](const std::string& name) -> std::uint64_t {
      for (const char* unused : {"post_layernorm.", "position_ids", "visual_projection."}) {
        if (has(name, unused)) return 0;
      }
      return has(name, last) ? 0 : dtype_bytes_;
    });
  }

  const card::Card& card_;
  std::uint64_t dtype_bytes_;
  job::MemoryModel out_;
};

}  // namespace

Precision precision_on(at::Device device, at::ScalarType dtype, bool fp8, const std::optional<bool>& keep_keys) {
  return {dtype, device.is_cuda(), keep_keys, fp8, allocator_of(device), ops::has_fp8_products(device)};
}

job::MemoryModel vae_memory_model(model::Vae& vae, job::Allocator allocator) {
  job::MemoryModel out;
  out.gpu = allocator != job::Allocator::exact;
  out.allocator = allocator;
  out.vae = vae.config();
  std::uint64_t& bytes = out.weights.at(static_cast<std::size_t>(Part::vae));
  vae.each_weight([&](const at::Tensor& weight) { bytes += weight.nbytes(); });
  return out;
}

bool keeps_keys(const std::optional<bool>& wanted, bool gpu) {
  return wanted.value_or(!gpu);
}

job::MemoryModel memory_model(const card::Card& card, const Precision& precision) {
  const job::MemoryModel model = Reader(card, precision).read();
  return precision.fp8 ? job::in_fp8(model) : model;
}

}  // namespace nightreel::pipeline

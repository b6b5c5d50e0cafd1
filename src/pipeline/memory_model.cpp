#include "nightreel/pipeline/memory_model.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <set>

#include "nightreel/base/json.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/model/clip_vision.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/model/weights.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/pipeline/gpu_memory.h"
#include "pipeline/model_index.h"

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
  return weights.has(matrix) && weights.stored(matrix).type == tensorfile::StoredType::f8_e4m3;
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

job::VaeSize size_of(const model::VaeConfig& c) {
  return {c.base_dim,
          c.decoder_base_dim,
          c.z_dim,
          c.dim_mult,
          c.num_res_blocks,
          c.temperal_downsample,
          c.scale_factor_spatial,
          c.scale_factor_temporal,
          c.patch_size,
          c.is_residual};
}

class Reader {
 public:
  Reader(const std::string& dir, const Precision& precision)
      : dir_(dir), dtype_bytes_(c10::elementSize(precision.dtype)) {
    out_.gpu = precision.gpu;
    out_.fp8_products = precision.fp8_products;
    out_.allocator = precision.gpu ? precision.allocator : job::Allocator::exact;
    out_.element_bytes = static_cast<std::int64_t>(dtype_bytes_);
    out_.keep_keys = keeps_keys(precision.keep_keys, precision.gpu);
    out_.both_prompts = !precision.gpu;
  }

  job::MemoryModel read(const std::vector<std::string>& experts) {
    const bool clip = read_transformer(experts[0], Part::transformer);
    if (experts.size() > 1) read_transformer(experts[1], Part::transformer_2);
    read_vae();
    read_text_encoder();
    if (clip) read_image_encoder();
    return out_;
  }

 private:
  base::Json config(const std::string& component) const {
    return job::checkpoint_json(dir_ + "/" + component + "/config.json").json;
  }
  std::string path(const std::string& component) const { return dir_ + "/" + component + "/config.json"; }
  std::uint64_t& weights(Part part) { return out_.weights.at(static_cast<std::size_t>(part)); }

  /// Whether it wants to be told by an image encoder.
  bool read_transformer(const std::string& component, Part part) {
    const auto c = model::parse_transformer_config(config(component), path(component));
    out_.transformer = {c.num_layers, c.num_attention_heads, c.attention_head_dim, c.ffn_dim,   c.freq_dim,
                        c.text_dim,   c.in_channels,         c.out_channels,       c.image_dim, c.pos_embed_seq_len,
                        c.patch_size};
    const auto stored = model::WeightMap::open(dir_ + "/" + component);
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
    return c.image_dim > 0;
  }

  void read_vae() {
    const auto c = model::parse_vae_config(config("vae"), path("vae"));
    out_.vae = size_of(c);
    const auto statistics = static_cast<std::uint64_t>(2 * c.z_dim) * sizeof(float);  // latents_mean, latents_std
    weights(Part::vae) =
        bytes_of(model::WeightMap::open(dir_ + "/vae"), [](const auto&) { return sizeof(float); }) + statistics;
  }

  void read_text_encoder() {
    const auto c = model::parse_umt5_config(config("text_encoder"), path("text_encoder"));
    out_.text = {kTextRows, c.d_model, c.d_ff, c.num_heads};
    const std::set<std::string> embedding{"shared.weight", "encoder.embed_tokens.weight"};  // tied: one is held
    const auto stored = model::WeightMap::open(dir_ + "/text_encoder");
    for (const std::string& name : embedding) {
      if (stored.has(name)) out_.host_weights = stored.stored(name).bytes;
    }
    weights(Part::text_encoder) = bytes_of(
        stored, [&](const std::string& name) -> std::uint64_t { return embedding.count(name) > 0 ? 0 : dtype_bytes_; });
  }

  void read_image_encoder() {
    const auto c = model::parse_clip_vision_config(config("image_encoder"), path("image_encoder"));
    out_.clip = {c.tokens(), c.hidden_size, c.intermediate_size, c.num_attention_heads};
    const std::string last = "encoder.layers." + std::to_string(c.num_hidden_layers - 1) + ".";
    weights(Part::image_encoder) =
        bytes_of(model::WeightMap::open(dir_ + "/image_encoder"), [&](const std::string& name) -> std::uint64_t {
          for (const char* unused : {"post_layernorm.", "position_ids", "visual_projection."}) {
            if (has(name, unused)) return 0;
          }
          return has(name, last) ? 0 : dtype_bytes_;
        });
  }

  std::string dir_;
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
  out.vae = size_of(vae.config());
  std::uint64_t& bytes = out.weights.at(static_cast<std::size_t>(Part::vae));
  vae.each_weight([&](const at::Tensor& weight) { bytes += weight.nbytes(); });
  return out;
}

bool keeps_keys(const std::optional<bool>& wanted, bool gpu) {
  return wanted.value_or(!gpu);
}

job::MemoryModel memory_model(const std::string& dir, const Precision& precision) {
  const std::string path = dir + "/model_index.json";
  const job::MemoryModel model = Reader(dir, precision).read(experts_of(job::checkpoint_json(path).json, path));
  return precision.fp8 ? job::in_fp8(model) : model;
}

}  // namespace nightreel::pipeline
